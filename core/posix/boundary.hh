// The way back to the application when something is pending: shared by the boundary of system
// calls, interrupts, exceptions and the signal code.
#pragma once

#include "arch/x64/context.hh"
#include <stdint.h>

namespace oblako::posix {

// A system call that a signal interrupted before it consumed anything.
struct interrupted_call {
  uintptr_t stub;            // 0: cannot be made again
  const uint64_t* arguments; // r9 r8 rcx rdx rsi rdi, as the stub pushed them
  uintptr_t stack_pointer;   // the application's at the stub's entry: points at the return address
  bool after_handler;        // error::restart; false: error::restart_no_handler
};

} // namespace oblako::posix

extern "C" {
// core/posix/signal_delivery.cc, if anything in the image can send a signal. Acts on the running
// thread's deliverable signals: ends the VM, or changes the frame so that handlers run. Returns
// true if a handler will. `call`, if not null, is made again after the first handler has returned,
// or ends with -EINTR, as the handler wants it. Context: thread, interrupts on.
[[gnu::weak]] bool oblako_deliver_signals(oblako::arch::trap_frame& frame,
                                          const oblako::posix::interrupted_call* call);
}
