// Who waits for a moment on the wall clock hears when it was set, by the application or because the
// machine had been stopped.
#pragma once

#include "core/posix/clock_id.hh"

namespace oblako::posix {

// Adds to wall_clock_set. While it has an observer the wall clock is looked at once a second, so
// that a jump is told even if nobody reads the clock. Context: thread.
void watch_wall_clock(sched::observer& o);
// After it returns the observer is not being notified. Nothing if it was not added.
void unwatch_wall_clock(sched::observer& o);

} // namespace oblako::posix
