// Apart from the scheduler, for long loops in images that may have none: nobody waits there.
#include "core/sched/cpu_state.hh"

namespace oblako::sched {

void yield_if_needed() {
  if (arch::pending_work() & arch::pending_reschedule)
    reschedule();
}

} // namespace oblako::sched
