// TCP's recovery from loss; lwIP calls it through its hooks. Private to core/net.
#pragma once

#include <stdint.h>

struct tcp_pcb;

namespace oblako::net {

// The retransmission timer has run out for a connection whose other side sends SACK. False: the
// first segment is still with the device, nothing was done.
bool recover_from_timeout(tcp_pcb& c);

// A time-out without SACK: everything is sent again.
void forget_recovery(tcp_pcb& c);

// The path takes less than it did: what was sent in longer segments than `mss` allows now did not
// arrive. That says nothing of congestion, so the window stays (RFC 8201, 5.4). To be followed by
// tcp_output().
void send_long_ones_again(tcp_pcb& c);

// The end of the wait for what was overtaken, or the moment to probe for a lost tail, if there is
// one; and what is to be done then.
bool recovery_waits(const tcp_pcb& c, uint32_t& due);
void recovery_waited(tcp_pcb& c);

} // namespace oblako::net
