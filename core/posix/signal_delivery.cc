// Acting on pending signals on the way back to the application, and the signals of faults.
// Spec: POSIX.1-2017 2.4; signal(7) for default actions and what is restarted.
#include "core/posix/boundary.hh"
#include "core/posix/signal.hh"

extern "C" {
// libc/overrides/restore.s, in images with handlers.
[[gnu::weak]] void __oblako_repeat_call();
}

namespace oblako::posix {

// Linked with rt_sigaction: without it, no signal has a handler.
[[gnu::weak]] bool push_signal_frame(arch::trap_frame& frame, const handler_call& call);

namespace {

uintptr_t fault_address(const siginfo_t& info) {
  return info.si_code > 0 ? reinterpret_cast<uintptr_t>(info.si_addr) : 0;
}

// What becomes of the call that the signal interrupted: decided by the first handler that runs.
void settle_call(arch::trap_frame& frame, const interrupted_call& call,
                 const signal_action& action) {
  sched::current().restart_deadline = 0;
  if (!call.stub || !call.after_handler || !(action.flags & SA_RESTART)) {
    frame.rax = static_cast<uint64_t>(-static_cast<long>(error::intr));
    return;
  }
  frame.rip = reinterpret_cast<uint64_t>(&__oblako_repeat_call);
  frame.rax = call.stub;
  frame.rsp = call.stack_pointer;
  frame.r9 = call.arguments[0];
  frame.r8 = call.arguments[1];
  frame.rcx = call.arguments[2];
  frame.rdx = call.arguments[3];
  frame.rsi = call.arguments[4];
  frame.rdi = call.arguments[5];
}

struct next_signal {
  int signo; // 0: none
  siginfo_t info;
  signal_action action;
};

void take_next(next_signal& n) {
  queued_signal* to_free = nullptr;
  {
    sched::spinlock_guard guard(signal_lock);
    sched::thread& self = sched::current();
    n.signo = take_signal(~self.signals.blocked, n.info, to_free);
    if (n.signo) {
      n.action = signal_actions[n.signo - 1];
      if (is_ignored(n.signo))
        n.action.handler = ignore_handler;
      else if ((n.action.flags & SA_RESETHAND) && n.action.handler > ignore_handler)
        signal_actions[n.signo - 1].handler = default_handler;
    } else {
      update_pending_mark(self);
    }
  }
  free_signal(to_free);
}

void run_handler(arch::trap_frame& frame, const next_signal& n) {
  const signal_mask saved = enter_handler(n.signo, n.action);
  if (!push_signal_frame(frame, {n.signo, n.info, n.action, saved, 0}))
    oblako_fatal_signal(&frame, SIGSEGV, SI_KERNEL, frame.rsp);
}

} // namespace

signal_mask enter_handler(int signo, const signal_action& action) {
  signal_state& s = sched::current().signals;
  const signal_mask saved = s.restore_blocked ? s.saved_blocked : s.blocked;
  s.restore_blocked = false;
  const signal_mask own = action.flags & SA_NODEFER ? 0 : bit_of(signo);
  set_blocked(s.blocked | action.mask | own);
  return saved;
}

} // namespace oblako::posix

extern "C" bool oblako_deliver_signals(oblako::arch::trap_frame& frame,
                                       const oblako::posix::interrupted_call* call) {
  using namespace oblako;
  using namespace oblako::posix;
  bool handler = false;
  for (next_signal n; take_next(n), n.signo;) {
    if (n.action.handler == ignore_handler)
      continue;
    if (n.action.handler == default_handler || !push_signal_frame)
      oblako_fatal_signal(&frame, n.signo, n.info.si_code, fault_address(n.info));
    if (call && !handler)
      settle_call(frame, *call, n.action);
    run_handler(frame, n);
    handler = true;
  }
  signal_state& s = sched::current().signals;
  if (s.restore_blocked) { // sigsuspend and the like, and no handler came of it
    s.restore_blocked = false;
    set_blocked(s.saved_blocked);
  }
  return handler;
}

extern "C" {

// ^C on the console. Context: interrupt.
void oblako_console_interrupt() {
  oblako::posix::send_process_signal(SIGINT);
}

// The power button. Context: interrupt.
void oblako_power_button() {
  oblako::posix::send_process_signal(SIGTERM);
}
}
