// What the poller drives: the devices and the protocols, one bounded step at a time. Implemented by
// core/net/stack.cc; the poller's test has its own. All of it runs under the stack's lock.
#pragma once

#include <stdint.h>

namespace oblako::net::engine {

// Takes what was received (a bounded batch), lets due timers run, tells the devices what was
// queued. True if it did any work.
bool run();
// Enables the devices' interrupts. False, with interrupts as they were, if there is work already:
// frames, packets on the loopback, a timer that is due.
bool enable_interrupts();
void disable_interrupts();
// True if frames have been queued that the devices have not been told of.
bool transmit_pending();
void tell_devices();
// When the next protocol timer is due. Units: monotonic nanoseconds; time::no_deadline if none is.
uint64_t next_timer();

} // namespace oblako::net::engine
