// ICMP and ICMPv6 report that something sent did not arrive: unreachable, too big, too many hops, a
// wrong header (RFC 792, RFC 4443). Anybody can send such a report, so it counts only for what it
// quotes: a segment that is in flight, a socket that is connected to there, a packet that was sent
// a moment ago (RFC 5927). Redirects of IPv4 and source quenches (RFC 6633) are not heard at all.
#include "core/base/types.hh"
#include "core/net/path_mtu.hh"
#include "core/net/tcp_handshake.hh"
#include "core/net/tcp_path.hh"
#include "core/net/udp_socket.hh"
#include "hooks.h"
#include "lwip/ip.h"
#include "lwip/prot/icmp.h"
#include "lwip/prot/icmp6.h"
#include "lwip/tcp.h"
#include <string.h>

using namespace oblako;
using namespace oblako::net;

namespace {

constexpr uint8_t protocol_tcp = 6, protocol_udp = 17, fragment_header = 44;
constexpr u16_t icmp_header = 8, fragment_header_length = 8;

struct report {
  error what = error::none; // none: it says nothing that counts
  bool final = false;       // it will not be otherwise later
  uint32_t mtu = 0;         // too big: what the path takes
};

// Linux's errors for the codes of "unreachable" (RFC 792, RFC 1122, RFC 1812; RFC 4443).
struct meaning {
  error what;
  bool final;
};
constexpr meaning unreachable4[] = {
    {error::netunreach, false},  {error::hostunreach, false}, {error::noprotoopt, true},
    {error::connrefused, true},  {error::msgsize, false},     {error::opnotsupp, false},
    {error::netunreach, true},   {error::hostdown, true},     {error::nonet, true},
    {error::netunreach, true},   {error::hostunreach, true},  {error::netunreach, false},
    {error::hostunreach, false}, {error::hostunreach, true},  {error::hostunreach, true},
    {error::hostunreach, true},
};
constexpr meaning unreachable6[] = {
    {error::netunreach, false},  {error::acces, true},       {error::hostunreach, false},
    {error::hostunreach, false}, {error::connrefused, true}, {error::acces, true},
    {error::acces, true},
};

template <size_t codes>
report meaning_of(const meaning (&table)[codes], uint8_t code) {
  return code < codes ? report{table[code].what, table[code].final} : report{};
}

uint32_t big16(const uint8_t* at) {
  return uint32_t{at[0]} << 8 | at[1];
}
uint32_t big32(const uint8_t* at) {
  return big16(at) << 16 | big16(at + 2);
}

report read4(const uint8_t* icmp) {
  switch (icmp[0]) {
  case ICMP_DUR:
    if (icmp[1] == ICMP_DUR_FRAG)
      return {error::msgsize, true, max_of(big16(icmp + 6), 1u)}; // 0: an old router (RFC 1191, 5)
    return meaning_of(unreachable4, icmp[1]);
  case ICMP_TE:
    return {error::hostunreach, false};
  case ICMP_PP:
    return {error::proto, true};
  default:
    return {};
  }
}

report read6(const uint8_t* icmp) {
  switch (icmp[0]) {
  case ICMP6_TYPE_DUR:
    return meaning_of(unreachable6, icmp[1]);
  case ICMP6_TYPE_PTB:
    return {error::msgsize, true, max_of(big32(icmp + 4), 1u)};
  case ICMP6_TYPE_TE:
    return {error::hostunreach, false};
  case ICMP6_TYPE_PP:
    return {error::proto, true};
  default:
    return {};
  }
}

// The packet that was sent, as much as is needed of it.
struct quotation {
  ip_addr_t from;
  sent_packet packet;
  uint16_t our_port, their_port;
  uint32_t sequence; // TCP
};

// False if it is none that we send: other addresses, options, a later fragment.
bool read_quotation4(const uint8_t* ip, size_t bytes, quotation& q) {
  if (bytes < IP_HLEN + 8 || ip[0] != 0x45 || (big16(ip + 6) & IP_OFFMASK) != 0)
    return false;
  uint32_t from, to;
  memcpy(&from, ip + 12, sizeof from);
  memcpy(&to, ip + 16, sizeof to);
  ip_addr_set_ip4_u32_val(q.from, from);
  ip_addr_set_ip4_u32_val(q.packet.to, to);
  q.packet.protocol = ip[9];
  memcpy(&q.packet.first_word, ip + IP_HLEN, 4);
  q.sequence = big32(ip + IP_HLEN + 4);
  return true;
}

bool read_quotation6(const uint8_t* ip, size_t bytes, netif* in, quotation& q) {
  if (bytes < IP6_HLEN + 8 || ip[0] >> 4 != 6)
    return false;
  for (auto [address, at] : {std::pair{&q.from, 8}, std::pair{&q.packet.to, 24}}) {
    IP_SET_TYPE_VAL(*address, IPADDR_TYPE_V6);
    memcpy(ip_2_ip6(address)->addr, ip + at, 16);
    ip6_addr_assign_zone(ip_2_ip6(address), IP6_UNKNOWN, in);
  }
  q.packet.protocol = ip[6];
  const uint8_t* rest = ip + IP6_HLEN;
  if (q.packet.protocol == fragment_header) {
    if (bytes < IP6_HLEN + fragment_header_length + 8 || (big16(rest + 2) & ~7u) != 0)
      return false;
    q.packet.protocol = rest[0];
    rest += fragment_header_length;
  }
  memcpy(&q.packet.first_word, rest, 4);
  q.sequence = big32(rest + 4);
  return true;
}

void tell_tcp(const quotation& q, const report& r) {
  tcp_pcb* c = oblako_tcp_find(&q.from, q.our_port, &q.packet.to, q.their_port);
  if (!c)
    forget_half_open(q.from, q.our_port, q.packet.to, q.their_port, q.sequence);
  else if (r.mtu != 0)
    segment_was_too_big(*c, q.sequence, static_cast<uint16_t>(r.mtu));
  else
    segment_was_lost(*c, q.sequence, r.what);
}

void tell_others(const quotation& q, const report& r) {
  if (r.mtu != 0) {
    if (!was_sent(q.packet) || int(r.mtu) >= path_mtu_between(q.from, q.packet.to))
      return;
    narrow_path(q.packet.to, static_cast<uint16_t>(r.mtu));
  }
  if (q.packet.protocol == protocol_udp && r.final)
    udp_socket::unreachable({q.from, q.our_port}, {q.packet.to, q.their_port}, r.what);
}

} // namespace

// `p` begins with the ICMP header; behind it lies the beginning of the packet that was sent.
extern "C" void oblako_icmp_error(pbuf* p, u16_t ip_header) {
  uint8_t head[icmp_header + IP6_HLEN + fragment_header_length + 8];
  const bool ipv6 = ip_header == IP6_HLEN;
  const size_t bytes = pbuf_copy_partial(p, head, sizeof head, 0);
  if (bytes < icmp_header)
    return;
  report r = ipv6 ? read6(head) : read4(head);
  if (r.mtu != 0 && (r.mtu = believable_mtu(ipv6, r.mtu)) == 0)
    return;
  quotation q = {};
  if (r.what == error::none ||
      !(ipv6 ? read_quotation6(head + icmp_header, bytes - icmp_header, ip_current_input_netif(), q)
             : read_quotation4(head + icmp_header, bytes - icmp_header, q)) ||
      !ip_addr_cmp(&q.from, ip_current_dest_addr())) // who sent it is told
    return;
  const auto* ports = reinterpret_cast<const uint8_t*>(&q.packet.first_word);
  q.our_port = static_cast<uint16_t>(big16(ports));
  q.their_port = static_cast<uint16_t>(big16(ports + 2));
  if (q.packet.protocol == protocol_tcp)
    tell_tcp(q, r);
  else
    tell_others(q, r);
}
