// Addresses of ours that somebody else on the link claims, too. Private to core/net.
//
// One that is in use stays ours: IPv4's, those of ip6= and those whose test is over. A claim is
// logged, and an IPv4 address defended at most once in ten seconds (RFC 5227, 2.4, c). An IPv6
// address that is still being tested (RFC 4862, 5.4) and was made here gets another interface
// identifier (RFC 7217): three times, and then again each minute. IPv4 goes on whatever happens.
#pragma once

struct netif;

namespace oblako::net {

// Called every second: an address that was given up is tried again when its time has come.
// Context: the stack's lock is held.
void try_addresses_again(netif& n);

} // namespace oblako::net
