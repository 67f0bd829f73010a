// Waiting for signals: rt_sigsuspend, pause, rt_sigtimedwait.
#include "arch/x64/syscall_entry.hh"
#include "core/base/needs.hh"
#include "core/mem/app_memory.hh"
#include "core/posix/signal.hh"
#include "core/posix/time_arguments.hh"

namespace oblako::posix {
namespace {

result<void> until_signal() {
  sched::thread_waiter nobody;
  for (;;)
    if (auto r = nobody.sleep(true); !r.ok())
      return r.code() == error::restart ? error::restart_no_handler : r.code();
}

result<void> suspend(const signal_mask* app_mask) {
  const signal_mask mask = TRY(mem::read_app(app_mask));
  signal_state& s = sched::current().signals;
  s.saved_blocked = s.blocked;
  set_blocked(mask);
  auto r = until_signal();
  if (r.code() == error::restart_no_handler)
    s.restore_blocked = true; // the boundary's business, see signal_state.hh
  else
    set_blocked(s.saved_blocked);
  return r;
}

result<int> timed_wait(const signal_mask* app_set, siginfo_t* app_info, const timespec* timeout) {
  const signal_mask set = TRY(mem::read_app(app_set)) & ~unblockable;
  uint64_t deadline = time::no_deadline;
  if (timeout)
    deadline = deadline_after(TRY(ns_from_app(timeout)));
  siginfo_t info;
  int signo = 0;
  const auto taken = [&] {
    queued_signal* to_free = nullptr;
    {
      sched::spinlock_guard guard(signal_lock);
      signo = take_signal(set, info, to_free);
      update_pending_mark(sched::current());
    }
    free_signal(to_free);
    return signo != 0;
  };
  auto waited = sched::wait_until(signal_arrived, taken, deadline);
  if (waited.code() == error::timedout)
    return error::again;
  if (waited.code() == error::restart)
    return error::intr; // never restarted, signal(7)
  TRY(std::move(waited));
  if (app_info)
    TRY(mem::write_app(app_info, info));
  return signo;
}

} // namespace
} // namespace oblako::posix

OBLAKO_SYSCALL_RESTARTABLE(sys_rt_sigsuspend, do_rt_sigsuspend);
OBLAKO_SYSCALL_RESTARTABLE(sys_pause, do_pause);
OBLAKO_SYSCALL(sys_rt_sigtimedwait, do_rt_sigtimedwait);

extern "C" {

long do_rt_sigsuspend(const oblako::posix::signal_mask* mask, size_t size) {
  if (size != sizeof(*mask))
    return -static_cast<long>(oblako::error::inval);
  return oblako::to_syscall(oblako::posix::suspend(mask));
}

long do_pause() {
  return oblako::to_syscall(oblako::posix::until_signal());
}

long do_rt_sigtimedwait(const oblako::posix::signal_mask* set, siginfo_t* info,
                        const timespec* timeout, size_t size) {
  // An application may wait for ^C and the power button without a handler for either.
  OBLAKO_NEEDS(oblako_start_signals);
  OBLAKO_NEEDS(oblako_deliver_signals);
  if (size != sizeof(*set))
    return -static_cast<long>(oblako::error::inval);
  return oblako::to_syscall(oblako::posix::timed_wait(set, info, timeout));
}
}
