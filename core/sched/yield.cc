// Apart from the scheduler, for long loops in images that may have none: nobody waits there.
#include "core/sched/cpu_state.hh"

namespace oblako::posix {
// core/posix/signal_queue.cc, if the image can send signals.
[[gnu::weak]] bool fatal_signal_pending();
} // namespace oblako::posix

namespace oblako::sched {

void yield_if_needed() {
  if (arch::pending_work() & arch::pending_reschedule)
    reschedule();
}

result<void> interruption_point() {
  yield_if_needed();
  const thread& self = current();
  if (self.cancellation_point && __atomic_load_n(&self.cancel_requested, __ATOMIC_ACQUIRE))
    return error::canceled;
  return arch::pending_work() & arch::pending_signal ? result<void>(error::restart)
                                                     : result<void>();
}

result<void> killable_point() {
  yield_if_needed();
  if ((arch::pending_work() & arch::pending_signal) && posix::fatal_signal_pending &&
      posix::fatal_signal_pending())
    return error::intr;
  return {};
}

} // namespace oblako::sched
