// How an interface gets its addresses: from the command line, or by DHCP, which sends its first
// packet at once and holds nothing up; IPv6 by router advertisements. Name servers go into
// /etc/resolv.conf.
#pragma once

struct netif;

namespace oblako::net {

// Context: the stack's lock is held. `first`: the interface that ip=, gw= and dns= are for.
void configure_addresses(netif& n, bool first);

} // namespace oblako::net
