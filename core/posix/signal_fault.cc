// Exceptions of the application as signals: forced, so blocking or ignoring them does not help.
#include "arch/x64/cpu.hh"
#include "core/posix/signal.hh"

// Called by the exception dispatcher on the thread's kernel stack, interrupts off.
extern "C" void oblako_fault_signal(oblako::arch::trap_frame* frame, int signo, int code,
                                    uintptr_t address) {
  using namespace oblako;
  using namespace oblako::posix;
  const bool interrupts = frame->rflags & arch::rflags_interrupts;
  signal_action action;
  {
    sched::spinlock_guard guard(signal_lock);
    signal_action& present = signal_actions[signo - 1];
    action = present;
    if (action.handler <= ignore_handler || (sched::current().signals.blocked & bit_of(signo)))
      action.handler = default_handler;
    else if (action.flags & SA_RESETHAND)
      present.handler = default_handler;
  }
  if (action.handler == default_handler)
    oblako_fatal_signal(frame, signo, code, address);

  siginfo_t info{};
  info.si_signo = signo;
  info.si_code = code;
  info.si_addr = reinterpret_cast<void*>(address);
  if (interrupts)
    arch::enable_interrupts();
  const signal_mask saved = enter_handler(signo, action);
  if (!push_signal_frame(*frame, {signo, info, action, saved, address}))
    oblako_fatal_signal(frame, SIGSEGV, SI_KERNEL, frame->rsp);
  arch::disable_interrupts();
}
