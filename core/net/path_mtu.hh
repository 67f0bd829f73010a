// What the way to a destination takes (path_mtu_table.hh), as the rest of core/net sees it, and
// lwIP through its hooks (patch 60). Units: bytes of a packet with its IP header. Context of all:
// the stack's lock is held. Private to core/net.
//
// Less than `least_path_mtu` is not believed. IPv6 knows no smaller one (RFC 8201, 4). Over IPv4 a
// path may take as little as 68 bytes (RFC 1191, 3), but segments of 28 would be an attacker's
// gain: what is less counts as 552, Linux's limit, and a path that takes less than that does not
// carry TCP.
#pragma once

#include "lwip/ip_addr.h"
#include <stdint.h>

struct netif;

namespace oblako::net {

constexpr uint16_t least_path_mtu(bool ipv6) {
  return ipv6 ? 1280 : 552;
}

// No more than the interface takes. 0: the packet may have any length (loopback).
uint16_t path_mtu(const netif& n, const ip_addr_t& to);
uint16_t link_mtu(const netif& n, bool ipv6);
// The same for an application (ip(7), IP_MTU), as Linux has it: 65,536 on the loopback, 0 without a
// route.
int path_mtu_between(const ip_addr_t& from, const ip_addr_t& to);

// What somebody reports, as it is believed; 0: it is not.
uint16_t believable_mtu(bool ipv6, uint32_t reported);
// The path to there takes no more than that. Only for what was believed and belongs to something
// that was sent.
void narrow_path(const ip_addr_t& to, uint16_t mtu);

// A packet without a connection, as reports quote it: where it went, and its protocol with the
// first octets of what follows the IP header (ports, or ICMP's type, code and checksum).
struct sent_packet {
  ip_addr_t to;
  uint8_t protocol;
  uint32_t first_word;
};
// True if one like it, so long that a path might not take it, was sent in the last ten seconds.
bool was_sent(const sent_packet& p);

// Once a second: what is old is forgotten, and connections follow what has changed.
void run_path_mtu();

} // namespace oblako::net
