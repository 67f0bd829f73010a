// When the protocols have something to do by themselves: one deadline for the poller to sleep by,
// so that an idle VM sleeps.
#pragma once

#include "core/time/clock.hh"
#include <stdint.h>

struct tcp_pcb;

namespace oblako::net {

// Context: the stack's lock is held. Units: monotonic nanoseconds.
void start_timers(uint64_t now);
// Runs what is due; true if something was.
bool run_timers(uint64_t now);
uint64_t next_timer_deadline();
// Set when next_timer_deadline() may have changed; cleared by who has followed it.
extern bool timers_changed;
// To be called after a change to a connection from outside lwIP that may give it something to time;
// tcp_output() does it by itself.
void note_tcp_activity(tcp_pcb& c);

// TCP's clock, in milliseconds: connections date their events by it.
void update_tcp_clock(uint64_t now);
// The monotonic time at which a tick begins that is less than 24 days away.
uint64_t time_of_tick(uint32_t tick);
// True while nobody keeps the clock going: before something is timed it must be set.
extern bool tcp_clock_stale;
inline void freshen_tcp_clock() {
  if (tcp_clock_stale) [[unlikely]]
    update_tcp_clock(time::monotonic_ns());
}

} // namespace oblako::net
