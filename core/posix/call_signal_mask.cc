// The signal mask of one call: ppoll, pselect6, epoll_pwait.
#include "core/mem/app_memory.hh"
#include "core/posix/signal.hh"

namespace oblako::posix {

result<void> call_signal_mask::check(const signal_mask* app_mask, size_t size, signal_mask& mask) {
  if (size != sizeof(mask))
    return error::inval;
  mask = TRY(mem::read_app(app_mask));
  return {};
}

call_signal_mask::call_signal_mask(const signal_mask* mask) : active_(mask != nullptr) {
  if (!active_)
    return;
  signal_state& s = sched::current().signals;
  s.saved_blocked = s.blocked;
  set_blocked(*mask);
}

call_signal_mask::~call_signal_mask() {
  if (!active_)
    return;
  sched::thread& self = sched::current();
  // With a signal on its way the boundary restores the mask: through the handler's frame, or, if
  // no handler runs, at once.
  if (__atomic_load_n(&self.pending, __ATOMIC_ACQUIRE) & arch::pending_signal)
    self.signals.restore_blocked = true;
  else
    set_blocked(self.signals.saved_blocked);
}

} // namespace oblako::posix
