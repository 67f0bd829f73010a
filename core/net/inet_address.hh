// Internet addresses between the application's structures and lwIP's, and free local ports.
#pragma once

#include "core/base/result.hh"
#include "core/net/socket.hh"
#include "lwip/err.h"
#include "lwip/ip_addr.h"

namespace oblako::net {

struct endpoint {
  ip_addr_t ip = {};
  uint16_t port = 0; // host byte order
};

enum class only_ipv6 : bool { no, yes };

// The address as a socket of `domain` understands it: IPv4-mapped addresses become IPv4.
// Errors: inval (too short), afnosupport.
result<endpoint> endpoint_from(const socket_address& a, int domain);
// For getsockname() and friends; IPv4 shows as mapped on an IPv6 socket.
void endpoint_to(const endpoint& e, int domain, socket_address& out);

bool is_any(const ip_addr_t& a);
// What to bind to: the unspecified address of a socket that takes both families is lwIP's "any
// type".
ip_addr_t binding_address(const endpoint& e, int domain, only_ipv6 only);
// Connecting to the unspecified address means this host.
void any_to_loopback(ip_addr_t& a);
// True if the address is unspecified, a group, or one of this host's.
bool is_local(const ip_addr_t& a);
// True if two sockets with these local addresses would compete for the same packets.
bool addresses_overlap(const ip_addr_t& a, const ip_addr_t& b);

// A free local port, chosen at random (RFC 6056). `taken`, called with `context`, says whether one
// is in use. 0 if all are.
uint16_t pick_port(bool (*taken)(uint16_t port, const void* context),
                   const void* context = nullptr);

error error_of(err_t e);

} // namespace oblako::net
