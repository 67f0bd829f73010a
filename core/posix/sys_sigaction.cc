// rt_sigaction. An application that reaches this call can have handlers, so this is what links the
// frames, the signals of exceptions, ^C on the console and the power button.
#include "arch/x64/syscall_entry.hh"
#include "core/base/needs.hh"
#include "core/mem/app_memory.hh"
#include "core/posix/signal.hh"

extern "C" {
void oblako_start_console_input();
void oblako_start_power_button();
}
extern "C" void oblako_start_power_button();

namespace oblako::posix {
namespace {

result<void> change_action(int signo, const signal_action* app_new, signal_action* app_old) {
  signal_action action{}, old;
  if (app_new)
    action = TRY(mem::read_app(app_new));
  bool discard = false;
  {
    sched::spinlock_guard guard(signal_lock);
    old = signal_actions[signo - 1];
    if (app_new) {
      action.mask &= ~unblockable;
      signal_actions[signo - 1] = action;
      discard = is_ignored(signo);
    }
  }
  if (discard)
    discard_pending(signo);
  return app_old ? mem::write_app(app_old, old) : result<void>();
}

} // namespace
} // namespace oblako::posix

OBLAKO_SYSCALL(sys_rt_sigaction, do_rt_sigaction);

extern "C" long do_rt_sigaction(int signo, const oblako::posix::signal_action* app_new,
                                oblako::posix::signal_action* app_old, size_t mask_size) {
  using namespace oblako;
  using namespace oblako::posix;
  OBLAKO_NEEDS(oblako_handlers);
  OBLAKO_NEEDS(oblako_fault_signal);
  OBLAKO_NEEDS(oblako_deliver_signals);
  if (mask_size != sizeof(signal_mask) || !valid_signal(signo) ||
      (app_new && (bit_of(signo) & unblockable)))
    return -static_cast<long>(error::inval);
  return to_syscall(change_action(signo, app_new, app_old));
}

// What the outside can ask an application to do: ^C on the console, the power button.
extern "C" void oblako_start_signals() {
  oblako_start_console_input();
  oblako_start_power_button();
}
