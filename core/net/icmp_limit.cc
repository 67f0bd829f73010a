// Which ICMP messages are sent (RFC 1122, 3.2.2; RFC 1812, 4.3.2.8; RFC 4443, 2.4 and 3.3): none
// about errors, about fragments but the first, about what was sent to many, or to what is not the
// address of one host; a thousand errors a second in all and ten to one destination; and a thousand
// answers to echo requests.
#include "core/net/interface_internal.hh"
#include "core/net/message_rate.hh"
#include "core/net/port.hh"
#include "core/net/siphash.hh"
#include "hooks.h"
#include "lwip/ip.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/prot/icmp.h"
#include "lwip/prot/icmp6.h"

namespace oblako::net {
namespace {

// Milliseconds between two messages, and how many may go at once.
struct rate {
  uint32_t interval, burst;
};
constexpr rate of_all = {1, 50}, of_one = {100, 10}, of_echoes = {1, 200};
constexpr unsigned destinations = 64; // those that share a place share the rate

message_rate all, echoes, each[destinations];
siphash_key key; // zero: not drawn yet

// What it takes of the rate of all is not the same each time, or somebody could find out by it who
// else was told something (CVE-2020-25705).
bool take(const void* address, size_t bytes) {
  if (key.k0 == 0)
    key = {uint64_t{random_word()} << 32 | random_word() | 1, random_word()};
  message_rate& one = each[siphash_2_4(key, address, bytes) % destinations];
  return one.take(tcp_ticks, of_one.interval, of_one.burst) &&
         all.take(tcp_ticks, of_all.interval, of_all.burst, random_word() % 3);
}

bool for_many(const pbuf* p) {
  return p->flags & (PBUF_FLAG_LLBCAST | PBUF_FLAG_LLMCAST);
}

bool is_one_host(uint32_t address) {
  const unsigned first = address & 0xff;
  const netif* in = ip_current_input_netif();
  return first != 0 && first < 224 && (first != 127 || (in && !is_ours(in)));
}

// Walks over headers that are options; false if there is no end of them.
bool final_header6(const pbuf* p, uint8_t& protocol, u16_t& at) {
  protocol = static_cast<uint8_t>(pbuf_get_at(p, 6));
  at = IP6_HLEN;
  for (unsigned n = 0; n < 8; ++n) {
    if (protocol != IP6_NEXTH_HOPBYHOP && protocol != IP6_NEXTH_DESTOPTS &&
        protocol != IP6_NEXTH_ROUTING && protocol != IP6_NEXTH_FRAGMENT)
      return true;
    const unsigned units = protocol == IP6_NEXTH_FRAGMENT ? 0 : pbuf_get_at(p, at + 1u);
    protocol = pbuf_get_at(p, at);
    at = static_cast<u16_t>(at + 8 + 8 * units);
  }
  return false;
}

} // namespace
} // namespace oblako::net

using namespace oblako::net;

extern "C" {

u8_t oblako_icmp_may_tell(const pbuf* p) {
  ip_hdr h;
  uint8_t type = ICMP_ECHO;
  if (for_many(p) || pbuf_copy_partial(p, &h, IP_HLEN, 0) != IP_HLEN ||
      (lwip_ntohs(IPH_OFFSET(&h)) & IP_OFFMASK) != 0 || !is_one_host(h.src.addr) ||
      lwip_ntohl(h.dest.addr) >> 28 >= 14)
    return 0;
  if (IPH_PROTO(&h) == IP_PROTO_ICMP &&
      (pbuf_copy_partial(p, &type, 1, IPH_HL_BYTES(&h)) != 1 || type != ICMP_ECHO))
    return 0;
  return take(&h.src.addr, sizeof h.src.addr);
}

u8_t oblako_icmp6_may_tell(const pbuf* p, u8_t type, u8_t code, const ip6_addr_t* to) {
  const bool even_to_many =
      type == ICMP6_TYPE_PTB || (type == ICMP6_TYPE_PP && code == ICMP6_PP_OPTION);
  uint8_t protocol;
  u16_t at;
  if (ip6_addr_isany(to) || ip6_addr_ismulticast(to) ||
      (!even_to_many && (for_many(p) || pbuf_get_at(p, 24) == 0xff)) ||
      !final_header6(p, protocol, at))
    return 0;
  if (protocol == IP6_NEXTH_ICMP6) {
    const uint8_t about = pbuf_get_at(p, at);
    if (about < ICMP6_TYPE_EREQ || about == ICMP6_TYPE_RD)
      return 0;
  }
  return take(to->addr, 8); // a network is one destination
}

u8_t oblako_icmp_may_echo() {
  return echoes.take(tcp_ticks, of_echoes.interval, of_echoes.burst);
}

} // extern "C"
