// lwIP's periodic functions, called only while they have something to do, so that an idle VM
// sleeps.
#pragma once

#include <stdint.h>

namespace oblako::net {

// Context: the stack's lock is held. Units: monotonic nanoseconds.
void start_timers(uint64_t now);
// Runs what is due; true if something was.
bool run_timers(uint64_t now);
uint64_t next_timer_deadline();
// Set when next_timer_deadline() has changed; cleared by who has followed it.
extern bool timers_changed;
// To be called after anything that may leave a connection with work for its timers.
void note_tcp_activity();
// Brings TCP's tick counter up to date, from which connections date their last activity.
void update_tcp_clock(uint64_t now);

} // namespace oblako::net
