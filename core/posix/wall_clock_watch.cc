#include "core/posix/wall_clock_watch.hh"

#include "core/base/late.hh"
#include "core/posix/time_arguments.hh"
#include "core/time/timer.hh"

namespace oblako::posix {
namespace {

constexpr uint64_t look_period = time::ns_per_s;

// Made at the first use.
late<time::timer> look_timer;
bool timer_made;
// Jumps of the wall clock that the observers were told of. Atomic: whoever changes it tells them.
uint64_t announced;

void announce_jumps() {
  const uint64_t jumps = time::wall_clock_jumps();
  if (__atomic_exchange_n(&announced, jumps, __ATOMIC_ACQ_REL) != jumps)
    wall_clock_set.wake_all();
}

// Context: interrupt.
void look(time::timer& t) {
  announce_jumps();
  if (!wall_clock_set.empty())
    t.arm(deadline_after(look_period));
}

} // namespace

void watch_wall_clock(sched::observer& o) {
  if (!timer_made) {
    look_timer.construct(&look);
    timer_made = true;
  }
  announce_jumps(); // what has been is no news to the new observer
  wall_clock_set.add(o);
  // A look that saw the queue empty has ended, or it arms the timer as we do.
  if (!look_timer->armed())
    look_timer->arm(deadline_after(look_period));
}

void unwatch_wall_clock(sched::observer& o) {
  wall_clock_set.remove(o);
}

} // namespace oblako::posix
