// Packets from a device that no host can have sent, or that were not meant for one, are dropped
// before anything is made of them: martians.hh, our own addresses as a source (RFC 1122, 3.2.1.3),
// broadcasts as a source, and packets for us alone in a frame for many (RFC 1122, 3.3.6).
#include "core/net/martians.hh"

#include "core/net/interface_internal.hh"
#include "hooks.h"
#include "lwip/ip4_addr.h"
#include "lwip/netif.h"
#include "lwip/prot/iana.h"
#include "lwip/prot/icmp6.h"
#include "lwip/prot/ip.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/ip6.h"

namespace oblako::net {
namespace {

bool for_many(const pbuf* p) {
  return p->flags & (PBUF_FLAG_LLBCAST | PBUF_FLAG_LLMCAST);
}

bool is_broadcast_of(const netif& n, uint32_t address) {
  const uint32_t mask = ip4_addr_get_u32(netif_ip4_netmask(&n));
  const uint32_t ours = ip4_addr_get_u32(netif_ip4_addr(&n));
  const uint32_t host = lwip_ntohl(~mask);
  return host > 1 && ours != 0 && ((address ^ ours) & mask) == 0 &&
         (address | mask) == ~uint32_t{0};
}

// A server that has no address itself yet may tell us ours.
bool is_dhcp(const pbuf* p, const ip_hdr& h) {
  const u16_t ports = IPH_HL_BYTES(&h);
  uint16_t to;
  return IPH_PROTO(&h) == IP_PROTO_UDP && (h._offset & PP_HTONS(IP_OFFMASK)) == 0 &&
         pbuf_copy_partial(p, &to, sizeof to, static_cast<u16_t>(ports + 2)) == sizeof to &&
         to == PP_HTONS(LWIP_IANA_PORT_DHCP_CLIENT);
}

bool is_one_host(uint32_t to) {
  if ((to & 0xff) >= 224)
    return false;
  for (const netif* n = netif_list; n; n = n->next)
    if (is_broadcast_of(*n, to))
      return false;
  return true;
}

bool is_martian(const pbuf* p) {
  if (p->len < IP_HLEN)
    return false; // lwIP drops it
  const auto& h = *static_cast<const ip_hdr*>(p->payload);
  const uint32_t from = h.src.addr, to = h.dest.addr;
  if (never_destination(to) || (for_many(p) && is_one_host(to)))
    return true;
  return from == 0 ? !is_dhcp(p, h) : is_martian_source(from);
}

// -1: it is no ICMPv6 message.
int message_type(const pbuf* p) {
  const auto& h = *static_cast<const ip6_hdr*>(p->payload);
  return IP6H_NEXTH(&h) == IP6_NEXTH_ICMP6 && p->len > IP6_HLEN
             ? static_cast<const uint8_t*>(p->payload)[IP6_HLEN]
             : -1;
}

bool is_own(const uint32_t (&address)[4]) {
  for (const netif* n = netif_list; n; n = n->next)
    for (s8_t i = 0; i < LWIP_IPV6_NUM_ADDRESSES; ++i)
      if (ip6_addr_isvalid(netif_ip6_addr_state(n, i)) &&
          __builtin_memcmp(netif_ip6_addr(n, i)->addr, address, sizeof address) == 0)
        return true;
  return false;
}

bool is_martian6(const pbuf* p) {
  if (p->len < IP6_HLEN)
    return false; // lwIP drops it
  const auto& h = *static_cast<const ip6_hdr*>(p->payload);
  uint32_t from[4], to[4];
  __builtin_memcpy(from, h.src.addr, sizeof from);
  __builtin_memcpy(to, h.dest.addr, sizeof to);
  if (never_destination(to) || (for_many(p) && (to[0] & 0xff) != 0xff))
    return true;
  // Who looks whether an address is free has none (RFC 4862, 5.4.2).
  if ((from[0] | from[1] | from[2] | from[3]) == 0)
    return message_type(p) != ICMP6_TYPE_NS;
  // That somebody else claims our address is for neighbour discovery to judge.
  return never_source(from) || (is_own(from) && message_type(p) != ICMP6_TYPE_NA);
}

} // namespace

bool is_martian_source(uint32_t from) {
  if (never_source(from))
    return true;
  for (const netif* n = netif_list; n; n = n->next)
    if (from == ip4_addr_get_u32(netif_ip4_addr(n)) || is_broadcast_of(*n, from))
      return true;
  return false;
}

} // namespace oblako::net

using namespace oblako::net;

extern "C" {

int oblako_ip4_input(pbuf* p, netif* in) {
  if (!is_ours(in) || !is_martian(p))
    return 0;
  pbuf_free(p);
  return 1;
}

int oblako_ip6_input(pbuf* p, netif* in) {
  if (!is_ours(in) || !is_martian6(p))
    return 0;
  pbuf_free(p);
  return 1;
}

} // extern "C"
