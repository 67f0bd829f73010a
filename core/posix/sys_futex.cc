// The futex call. musl's locks reach it in every image, but without a second thread nobody can be
// waiting or woken; so the table of waiters (futex.cc) comes with clone, and alone a wait is a
// sleep that only a signal or its timeout ends.
#include "arch/x64/syscall_entry.hh"
#include "core/posix/futex.hh"
#include "core/posix/time_arguments.hh"
#include "core/sched/wait.hh"

namespace {

using namespace oblako;

enum operation : int { op_wait = 0, op_wait_bitset = 9, command_mask = 127, flag_realtime = 256 };

// Without timers in the image a timeout is waited for awake.
result<void> sleep_alone(uint64_t deadline) {
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

result<void> wait_alone(const uint32_t* address, bool absolute, bool realtime, uint32_t value,
                        const timespec* timeout) {
  uint64_t deadline = time::no_deadline;
  if (timeout) {
    const uint64_t ns = TRY(posix::ns_from_app(timeout));
    deadline = !absolute ? posix::deadline_after(ns) : realtime ? posix::deadline_of_wall(ns) : ns;
  }
  if (TRY(mem::read_app(address)) != value)
    return error::again;
  return sleep_alone(deadline);
}

} // namespace

OBLAKO_SYSCALL_RESTARTABLE(sys_futex, do_futex);

extern "C" long do_futex(uint32_t* address, int operation, uint32_t value, uint64_t timeout,
                         uint32_t* address2, uint32_t value3) {
  if (oblako_futex) [[likely]]
    return oblako_futex(address, operation, value, timeout, address2, value3);
  const int command = operation & command_mask;
  if (command == op_wait || command == op_wait_bitset)
    return oblako::to_syscall(wait_alone(address, command == op_wait_bitset,
                                         operation & flag_realtime, value,
                                         reinterpret_cast<const timespec*>(timeout)));
  return 0;
}
