// The running thread is (no longer) in a pthread cancellation point:
// libc/overrides/pthread_cancel.c. Its caller has a system call's arguments in the registers, so
// all of them are left as they are, but for the result.
#include "core/sched/thread.hh"

extern "C" [[gnu::no_caller_saved_registers]] long sys_cancellation_point(long on) {
  oblako::sched::thread& self = oblako::sched::current();
  const bool was = self.cancellation_point;
  self.cancellation_point = on;
  return was;
}
