// One timer for each TCP connection that has something to time; the others have none. Private to
// core/net.
#pragma once

#include <stdint.h>

struct tcp_pcb;

namespace oblako::net {

// Context: the stack's lock is held. The time is TCP's clock (tcp_ticks).
void start_connection_timers();
// Does what is due; true if something was.
bool run_connection_timers();
// Units: monotonic nanoseconds; time::no_deadline if no connection has a timer.
uint64_t next_connection_timer();
// For header prediction: the one thing that has begun and is to be timed.
void time_acknowledgement(tcp_pcb& c);
void time_retransmission(tcp_pcb& c);
// The control block's memory goes.
void forget_connection(tcp_pcb& c);

} // namespace oblako::net
