// The signal state of the process, and masks: all that an image needs which only ever blocks
// signals.
#include "core/posix/signal.hh"

namespace oblako::posix {

constinit sched::spinlock signal_lock{sched::lock_rank::signal};
signal_mask process_pending;

// core/posix/signal_queue.cc, if the image can send signals.
[[gnu::weak]] void retarget(signal_mask set);

void update_pending_mark(sched::thread& self) {
  if ((self.signals.pending | process_pending) & ~self.signals.blocked)
    sched::set_pending_signal(self);
  else
    sched::clear_pending_signal(self);
}

void set_blocked(signal_mask blocked) {
  sched::thread& self = sched::current();
  signal_mask handed_over;
  {
    sched::spinlock_guard guard(signal_lock);
    const signal_mask before = self.signals.blocked;
    self.signals.blocked = blocked & ~unblockable;
    handed_over = process_pending & self.signals.blocked & ~before;
    update_pending_mark(self);
  }
  if (handed_over && retarget)
    retarget(handed_over);
}

} // namespace oblako::posix
