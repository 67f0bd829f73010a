// The side of the poller that the stack uses (core/net/poller.cc has the whole story).
#pragma once

#include "core/net/interface.hh"
#include "core/net/timers.hh"

namespace oblako::net {

// A device's interrupt: there may be work for the stack. Context: interrupt.
void device_interrupt(void*);
// Called last by whoever leaves the stack, its lock still held: tells devices what is queued, or
// sees to it that it happens soon, and arms the timers.
void leave_stack();
// False if leave_stack() would find nothing to do.
extern bool watched; // see poller.cc; atomic
inline bool service_wanted_on_leaving() {
  return !__atomic_load_n(&watched, __ATOMIC_RELAXED) || frames_queued() || timers_changed;
}
// The caller of poll() is expected to write to this many sockets next.
void expect_writes(unsigned count);
// Starts the thread that runs the stack when no other does. Boot only.
void start_service();

} // namespace oblako::net
