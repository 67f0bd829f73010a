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

// The end of the wait for what was overtaken, or the moment to probe for a lost tail, if there is
// one; and what is to be done then.
bool recovery_waits(const tcp_pcb& c, uint32_t& due);
void recovery_waited(tcp_pcb& c);

} // namespace oblako::net
