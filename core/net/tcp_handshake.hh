// How connections begin and end without a control block: half-open ones (SYN_RCVD) and those in
// TIME_WAIT. Private to core/net.
#pragma once

#include <stdint.h>

namespace oblako::net {

// Context of all: the stack's lock is held.
void start_handshakes();
bool run_handshakes();
// Units: monotonic nanoseconds; time::no_deadline if nothing waits.
uint64_t next_handshake();

// How many connections wait in TIME_WAIT, and how many are half open.
unsigned time_wait_count();
unsigned half_open_count();

} // namespace oblako::net
