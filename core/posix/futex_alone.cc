// A futex wait in an image without a second thread, where nobody can wake it: what a signal or a
// timeout ends. Comes with signals and with clocks (musl asks the clock for every timed wait of its
// own; a constant syscall(SYS_futex) brings it too, scripts/report_syscalls.py).
#include "core/posix/futex.hh"
#include "core/posix/time_arguments.hh"
#include "core/sched/wait.hh"

namespace {

using namespace oblako;

// Without timers in the image a timeout is waited for awake.
result<void> sleep_until(uint64_t deadline) {
  sched::thread_waiter waiter;
  if (deadline == time::no_deadline)
    return waiter.sleep(true);
  while (time::monotonic_ns() < deadline) {
    if (arch::pending_work() & arch::pending_signal)
      return error::restart_no_handler;
    arch::pause();
  }
  return error::timedout;
}

result<void> wait_alone(bool absolute, bool realtime, const timespec* timeout) {
  uint64_t deadline = time::no_deadline;
  if (timeout) {
    const uint64_t ns = TRY(posix::ns_from_app(timeout));
    deadline = !absolute ? posix::deadline_after(ns) : realtime ? posix::deadline_of_wall(ns) : ns;
  }
  return sleep_until(deadline);
}

} // namespace

extern "C" long oblako_futex_alone(bool absolute, bool realtime, const timespec* timeout) {
  return to_syscall(wait_alone(absolute, realtime, timeout));
}
