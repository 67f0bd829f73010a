// TCP's recovery from loss; lwIP calls it through its hooks. Private to core/net.
#pragma once

struct tcp_pcb;

namespace oblako::net {

// A time-out: everything is sent again, whatever the other side said it has (RFC 2018, 8).
void forget_recovery(tcp_pcb& c);

} // namespace oblako::net
