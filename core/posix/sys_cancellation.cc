// The running thread is (no longer) in a pthread cancellation point:
// libc/overrides/pthread_cancel.c.
#include "core/sched/thread.hh"

extern "C" long sys_cancellation_point(long on) {
  oblako::sched::thread& self = oblako::sched::current();
  const bool was = self.cancellation_point;
  self.cancellation_point = on;
  return was;
}
