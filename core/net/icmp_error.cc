// ICMP says that something sent did not arrive: connected datagram sockets are told (RFC 1122,
// 4.1.3.3). Only what is final: that nobody has the port, or the protocol.
#include "core/net/udp_socket.hh"
#include "hooks.h"
#include "lwip/ip.h"
#include <string.h>

using namespace oblako;
using namespace oblako::net;

namespace {

constexpr uint8_t protocol_udp = 17;
constexpr u16_t icmp_header = 8;

// As the ICMP header's code says it (RFC 792; RFC 4443, 3.1).
error error_of_code(bool ipv6, uint8_t code) {
  if (ipv6)
    return code == 4 ? error::connrefused : error::none;
  return code == 3 ? error::connrefused : code == 2 ? error::noprotoopt : error::none;
}

} // namespace

// `p` begins with the ICMP header; behind it lies the beginning of the packet that was sent.
extern "C" void oblako_icmp_unreachable(pbuf* p, u16_t ip_header) {
  uint8_t head[icmp_header + IP6_HLEN];
  const bool ipv6 = ip_header == IP6_HLEN;
  const u16_t wanted = icmp_header + ip_header;
  if (pbuf_copy_partial(p, head, wanted, 0) != wanted)
    return;
  const uint8_t* ip = head + icmp_header;
  const error e = error_of_code(ipv6, head[1]);
  if (e == error::none || ip[ipv6 ? 6 : 9] != protocol_udp)
    return;
  const auto options = static_cast<u16_t>(ipv6 ? 0 : (ip[0] & 15) * 4 - IP_HLEN);
  uint16_t ports[2];
  if (pbuf_copy_partial(p, ports, sizeof ports, static_cast<u16_t>(wanted + options)) !=
      sizeof ports)
    return;
  ip_addr_t to = {};
  if (ipv6) {
    IP_SET_TYPE_VAL(to, IPADDR_TYPE_V6);
    memcpy(ip_2_ip6(&to)->addr, ip + 24, 16);
  } else {
    uint32_t v4;
    memcpy(&v4, ip + 16, sizeof v4);
    ip_addr_set_ip4_u32_val(to, v4);
  }
  udp_socket::unreachable(__builtin_bswap16(ports[0]), {to, __builtin_bswap16(ports[1])}, e);
}
