// How an interface gets its addresses: from the command line, or by DHCP, which sends its first
// packet at once and holds nothing up; IPv6 by router advertisements.
#pragma once

struct netif;

namespace oblako::net {

// By hand: ip=, gw=, dns=, ip6= and gw6= for the first interface, en1.ip= and so on for others.
// Packets to elsewhere go over the first.
// Context: the stack's lock is held.
void configure_addresses(netif& n);
// Ends the machine if an option names an interface that it does not have.
void check_interface_options(unsigned interfaces);
// Called every second.
void keep_addresses(netif& n);

} // namespace oblako::net
