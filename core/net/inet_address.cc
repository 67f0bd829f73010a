#include "core/net/inet_address.hh"

#include "core/net/policy.hh"
#include "core/net/port.hh"
#include "lwip/netif.h"
#include <netinet/in.h>
#include <string.h>

namespace oblako::net {
namespace {

bool is_mapped(const in6_addr& a) {
  static const uint8_t prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  return memcmp(&a, prefix, sizeof prefix) == 0;
}

ip_addr_t from_in6(const in6_addr& a, uint32_t scope) {
  ip_addr_t ip = {};
  if (is_mapped(a)) {
    uint32_t v4;
    memcpy(&v4, reinterpret_cast<const uint8_t*>(&a) + 12, sizeof v4);
    ip_addr_set_ip4_u32_val(ip, v4);
    return ip;
  }
  IP_SET_TYPE_VAL(ip, IPADDR_TYPE_V6);
  memcpy(ip_2_ip6(&ip)->addr, &a, sizeof a);
  ip6_addr_set_zone(ip_2_ip6(&ip), static_cast<u8_t>(scope));
  return ip;
}

} // namespace

result<endpoint> endpoint_from(const socket_address& a, int domain) {
  endpoint e;
  if (a.length < sizeof(sa_family_t))
    return error::inval;
  if (domain == AF_INET6 && a.base.sa_family == AF_INET6) {
    if (a.length < offsetof(sockaddr_in6, sin6_scope_id))
      return error::inval;
    const auto& in = reinterpret_cast<const sockaddr_in6&>(a.storage);
    e.ip = from_in6(in.sin6_addr, in.sin6_scope_id);
    e.port = __builtin_bswap16(in.sin6_port);
    return e;
  }
  // Linux takes AF_UNSPEC for AF_INET when binding.
  if (domain != AF_INET || (a.base.sa_family != AF_INET && a.base.sa_family != AF_UNSPEC))
    return error::afnosupport;
  if (a.length < sizeof(sockaddr_in))
    return error::inval;
  const auto& in = reinterpret_cast<const sockaddr_in&>(a.storage);
  ip_addr_set_ip4_u32_val(e.ip, in.sin_addr.s_addr);
  e.port = __builtin_bswap16(in.sin_port);
  return e;
}

void endpoint_to(const endpoint& e, int domain, socket_address& out) {
  memset(&out.storage, 0, sizeof out.storage);
  if (domain == AF_INET) {
    auto& in = reinterpret_cast<sockaddr_in&>(out.storage);
    in.sin_family = AF_INET;
    in.sin_port = __builtin_bswap16(e.port);
    in.sin_addr.s_addr = IP_IS_V4_VAL(e.ip) ? ip4_addr_get_u32(ip_2_ip4(&e.ip)) : 0;
    out.length = sizeof in;
    return;
  }
  auto& in = reinterpret_cast<sockaddr_in6&>(out.storage);
  in.sin6_family = AF_INET6;
  in.sin6_port = __builtin_bswap16(e.port);
  out.length = sizeof in;
  if (IP_IS_V6_VAL(e.ip)) {
    memcpy(&in.sin6_addr, ip_2_ip6(&e.ip)->addr, sizeof in.sin6_addr);
    in.sin6_scope_id = ip6_addr_zone(ip_2_ip6(&e.ip));
  } else if (IP_IS_V4_VAL(e.ip) && !is_any(e.ip)) {
    const uint32_t v4 = ip4_addr_get_u32(ip_2_ip4(&e.ip));
    in.sin6_addr.s6_addr[10] = in.sin6_addr.s6_addr[11] = 0xff;
    memcpy(&in.sin6_addr.s6_addr[12], &v4, sizeof v4);
  }
}

bool is_any(const ip_addr_t& a) {
  return ip_addr_isany_val(a);
}

ip_addr_t binding_address(const endpoint& e, int domain, only_ipv6 only) {
  if (domain != AF_INET6 || !IP_IS_V6_VAL(e.ip) || !is_any(e.ip) || only == only_ipv6::yes)
    return e.ip;
  ip_addr_t both = {};
  IP_SET_TYPE_VAL(both, IPADDR_TYPE_ANY);
  return both;
}

void any_to_loopback(ip_addr_t& a) {
  if (!is_any(a))
    return;
  if (IP_IS_V4_VAL(a))
    ip_addr_set_loopback(0, &a);
  else
    ip_addr_set_loopback(1, &a);
}

bool is_local(const ip_addr_t& a) {
  if (is_any(a) || ip_addr_ismulticast(&a))
    return true;
  for (netif* n = netif_list; n; n = n->next) {
    if (IP_IS_V4_VAL(a)) {
      if (ip4_addr_cmp(ip_2_ip4(&a), netif_ip4_addr(n)))
        return true;
    } else if (netif_get_ip6_addr_match(n, ip_2_ip6(&a)) >= 0) {
      return true;
    }
  }
  return false;
}

bool addresses_overlap(const ip_addr_t& a, const ip_addr_t& b) {
  const u8_t type_a = IP_GET_TYPE(&a), type_b = IP_GET_TYPE(&b);
  if (type_a == IPADDR_TYPE_ANY || type_b == IPADDR_TYPE_ANY)
    return true;
  return type_a == type_b && (is_any(a) || is_any(b) || ip_addr_cmp(&a, &b));
}

uint16_t pick_port(bool (*taken)(uint16_t port, const void* context), const void* context) {
  constexpr uint32_t ports = last_local_port - first_local_port + 1;
  const uint32_t start = random_word() % ports;
  for (uint32_t i = 0; i < ports; ++i) {
    const auto port = static_cast<uint16_t>(first_local_port + (start + i) % ports);
    if (!taken(port, context))
      return port;
  }
  return 0;
}

error error_of(err_t e) {
  switch (e) {
  case ERR_OK:
    return error::none;
  case ERR_MEM:
  case ERR_BUF:
    return error::nobufs;
  case ERR_TIMEOUT:
    return error::timedout;
  case ERR_RTE:
    return error::netunreach;
  case ERR_USE:
    return error::addrinuse;
  case ERR_ISCONN:
    return error::isconn;
  case ERR_CONN:
  case ERR_CLSD:
    return error::notconn;
  case ERR_RST:
    return error::connreset;
  case ERR_ABRT:
    return error::connaborted;
  case ERR_IF:
    return error::netdown;
  default:
    return error::inval;
  }
}

} // namespace oblako::net
