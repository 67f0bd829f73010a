// rt_sigprocmask and rt_sigpending; and call_signal_mask for the calls that take a mask.
#include "arch/x64/syscall_entry.hh"
#include "core/mem/app_memory.hh"
#include "core/posix/signal.hh"

namespace oblako::posix {
namespace {

result<void> change_mask(int how, const signal_mask* app_set, signal_mask* app_old) {
  const signal_mask old = sched::current().signals.blocked;
  if (app_set) {
    const signal_mask set = TRY(mem::read_app(app_set));
    switch (how) {
    case SIG_BLOCK:
      set_blocked(old | set);
      break;
    case SIG_UNBLOCK:
      set_blocked(old & ~set);
      break;
    case SIG_SETMASK:
      set_blocked(set);
      break;
    default:
      return error::inval;
    }
  }
  return app_old ? mem::write_app(app_old, old) : result<void>();
}

} // namespace
} // namespace oblako::posix

OBLAKO_SYSCALL(sys_rt_sigprocmask, do_rt_sigprocmask);

extern "C" long do_rt_sigprocmask(int how, const oblako::posix::signal_mask* set,
                                  oblako::posix::signal_mask* old, size_t size) {
  if (size != sizeof(oblako::posix::signal_mask))
    return -static_cast<long>(oblako::error::inval);
  return oblako::to_syscall(oblako::posix::change_mask(how, set, old));
}

extern "C" long sys_rt_sigpending(oblako::posix::signal_mask* app_set, size_t size) {
  using namespace oblako;
  if (size > sizeof(posix::signal_mask))
    return -static_cast<long>(error::inval);
  const posix::signal_state& s = sched::current().signals;
  const posix::signal_mask set = (s.pending | posix::process_pending) & s.blocked;
  return to_syscall(mem::copy_to_app(app_set, &set, size));
}
