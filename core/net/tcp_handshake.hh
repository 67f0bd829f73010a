// How connections begin and end without a control block: half-open ones (SYN_RCVD) and those in
// TIME_WAIT. Private to core/net.
#pragma once

#include "lwip/ip_addr.h"
#include <stdint.h>

namespace oblako::net {

struct half_open;

// Context of all: the stack's lock is held.
void start_handshakes();
bool run_handshakes();
// Units: monotonic nanoseconds; time::no_deadline if nothing waits.
uint64_t next_handshake();

// The confirmation that this one waits with, as if it came now. Context: lwIP is not on the stack.
void confirm_again(half_open& h);
// Our answer to its SYN, which had this number, did not arrive.
void forget_half_open(const ip_addr_t& local, uint16_t local_port, const ip_addr_t& remote,
                      uint16_t remote_port, uint32_t our_isn);
// Its listener is closed.
void change_listener(half_open& h);

// Calls visit() with each connection in TIME_WAIT.
struct blockless_connection {
  ip_addr_t local, remote;
  uint16_t local_port, remote_port;
};
void for_each_time_wait(void (*visit)(const blockless_connection& c, void* context), void* context);

// How many connections wait in TIME_WAIT, and how many are half open.
unsigned time_wait_count();
unsigned half_open_count();

} // namespace oblako::net
