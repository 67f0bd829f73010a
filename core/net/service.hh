// The side of the poller that the stack uses (core/net/poller.cc has the whole story).
#pragma once

namespace oblako::net {

// A device's interrupt: there may be work for the stack. Context: interrupt.
void device_interrupt(void*);
// Called last by whoever leaves the stack, its lock still held: tells devices what is queued, or
// sees to it that it happens soon, and arms the timers.
void leave_stack();
// The caller of poll() is expected to write to this many sockets next.
void expect_writes(unsigned count);
// Starts the thread that runs the stack when no other does. Boot only.
void start_service();

} // namespace oblako::net
