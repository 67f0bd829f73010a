// A limit for programs that handle their own crash. A handler of a fault (SIGSEGV, SIGABRT and the
// like) that writes a report may wait for threads that never answer; the machine would then neither
// serve nor end. Such a handler has ten seconds; after them the machine ends with the signal's
// status.
//
// Invariants, all guarded by signal_lock:
// - One handler is watched at a time, the first; who is in it is `thread_`, which is alive.
// - The watch ends when the handler returns (rt_sigreturn), when its thread ends, or when it is
// seen
//   at the limit that the handler was left by longjmp(): then the thread does not block the signal
//   any more, or the program has installed a handler again where there was one for one signal only.
// - A handler with SA_NODEFER and without SA_RESETHAND leaves no such trace and is not watched.
#pragma once

#include "core/posix/signal.hh"

namespace oblako::posix {

// The running thread is about to run this handler, on this stack pointer. Context: thread.
void watch_crash_handler(int signo, const signal_action& action, uintptr_t stack);
// The running thread returns from a handler that began on this stack pointer. Context: thread.
void leave_crash_handler(uintptr_t stack);
// The running thread ends. In images with handlers. Context: thread, signal lock held.
[[gnu::weak]] void forget_crash_handler(const sched::thread& t);

} // namespace oblako::posix
