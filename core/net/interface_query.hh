// What ioctl() on a socket tells about network interfaces: SIOCGIFCONF and its relatives.
#pragma once

#include "core/base/result.hh"

struct netif;

namespace oblako::net {

// Errors: notty (not a request about interfaces), nodev (no such interface), fault.
result<long> interface_control(unsigned long request, void* app_argument);

// An interface's name, zeros behind it: "lo", "en0". `to` has IFNAMSIZ bytes.
void interface_name(const netif& n, char* to);
// IFF_*
uint16_t interface_flags(const netif& n);
uint32_t interface_mtu(const netif& n);

} // namespace oblako::net
