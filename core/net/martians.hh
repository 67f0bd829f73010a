// Addresses that no packet on a wire can have as its source or destination (RFC 1122, 3.2.1.3; RFC
// 6890; RFC 4291, 2.5). Whoever sends such packets wants answers to go to somebody else, or to us.
// They depend on nothing; own addresses and broadcasts are martians.cc's affair.
#pragma once

#include <stdint.h>

namespace oblako::net {

// Of IPv4 addresses in network byte order.
constexpr bool never_source(uint32_t address) {
  const uint32_t first = address & 0xff;
  return first == 0 || first == 127 || first >= 224;
}
constexpr bool never_destination(uint32_t address) {
  const uint32_t first = address & 0xff;
  return first == 0 || first == 127 || (first >= 240 && address != 0xffffffff);
}

// Of IPv6 addresses, as words in network byte order: unspecified, loopback, IPv4-compatible and
// IPv4-mapped addresses.
constexpr bool is_of_no_host(const uint32_t (&address)[4]) {
  return address[0] == 0 && address[1] == 0 && (address[2] == 0 || address[2] == 0xffff0000);
}
constexpr bool never_source(const uint32_t (&address)[4]) {
  return (address[0] & 0xff) == 0xff || is_of_no_host(address);
}
// Of multicast addresses those of a reserved scope and those of the interface alone.
constexpr bool never_destination(const uint32_t (&address)[4]) {
  const bool multicast = (address[0] & 0xff) == 0xff;
  return multicast ? (address[0] >> 8 & 0x0f) <= 1 : is_of_no_host(address);
}

} // namespace oblako::net
