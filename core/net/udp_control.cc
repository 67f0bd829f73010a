// Control messages of datagrams (ip(7), ipv6(7)): which address of ours a datagram was sent to or
// is to be sent from, its time to live and class, when it came.
#include "core/net/control_data.hh"
#include "core/net/udp_socket.hh"

#include "lwip/netif.h"
#include <netinet/in.h>
#include <sys/time.h>

namespace oblako::net {
namespace {

template <class T>
result<T> value_of(const uint8_t* data, size_t bytes) {
  T value;
  if (bytes < sizeof value)
    return error::inval;
  memcpy(&value, data, sizeof value);
  return value;
}

// An int, or for the type of service a single byte.
result<int> number_of(const uint8_t* data, size_t bytes) {
  const int number = bytes == 1 ? data[0] : TRY(value_of<int>(data, bytes));
  if (number < 0 || number > 255)
    return error::inval;
  return number;
}

endpoint from_in6(const in6_addr& a) {
  socket_address s;
  auto& in = reinterpret_cast<sockaddr_in6&>(s.storage);
  in.sin6_family = AF_INET6;
  in.sin6_addr = a;
  s.length = sizeof in;
  auto made = endpoint_from(s, AF_INET6);
  return made.ok() ? *made : endpoint();
}

} // namespace

result<void> udp_socket::read_control(const control_data& control, sending& how) {
  return control.for_each(
      [&how](int level, int type, const uint8_t* data, size_t bytes) -> result<void> {
        if (level == IPPROTO_IP && type == IP_PKTINFO) {
          const auto info = TRY(value_of<in_pktinfo>(data, bytes));
          ip_addr_set_ip4_u32_val(how.from, info.ipi_spec_dst.s_addr);
          how.interface = static_cast<unsigned>(info.ipi_ifindex);
        } else if (level == IPPROTO_IPV6 && type == IPV6_PKTINFO) {
          const auto info = TRY(value_of<in6_pktinfo>(data, bytes));
          how.from = from_in6(info.ipi6_addr).ip;
          how.interface = info.ipi6_ifindex;
        } else if ((level == IPPROTO_IP && type == IP_TTL) ||
                   (level == IPPROTO_IPV6 && type == IPV6_HOPLIMIT)) {
          how.time_to_live = TRY(number_of(data, bytes));
        } else if ((level == IPPROTO_IP && type == IP_TOS) ||
                   (level == IPPROTO_IPV6 && type == IPV6_TCLASS)) {
          how.type_of_service = TRY(number_of(data, bytes));
        } else if (level == IPPROTO_IP || level == IPPROTO_IPV6) {
          return error::inval;
        }
        return {};
      });
}

void udp_socket::write_packet_info(const datagram& d, control_data& out) const {
  if (wants_info_ && IP_IS_V4_VAL(d.to)) {
    in_pktinfo info = {};
    info.ipi_ifindex = d.interface;
    info.ipi_addr.s_addr = ip4_addr_get_u32(ip_2_ip4(&d.to));
    // For a group or broadcast: the address to answer from.
    netif* n = netif_get_by_index(d.interface);
    info.ipi_spec_dst.s_addr = is_local(d.to) && !ip_addr_ismulticast(&d.to) ? info.ipi_addr.s_addr
                               : n ? ip4_addr_get_u32(netif_ip4_addr(n))
                                   : 0;
    out.add(IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
  }
  if (wants_info6_) {
    socket_address name;
    endpoint_to({d.to, 0}, AF_INET6, name);
    in6_pktinfo info = {};
    info.ipi6_addr = reinterpret_cast<sockaddr_in6&>(name.storage).sin6_addr;
    info.ipi6_ifindex = d.interface;
    out.add(IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info);
  }
}

void udp_socket::write_control(const datagram& d, control_data& out) const {
  if (settings_.timestamp) {
    const timeval t = {static_cast<time_t>(d.arrived / time::ns_per_s),
                       static_cast<suseconds_t>(d.arrived % time::ns_per_s / 1000)};
    out.add(SOL_SOCKET, SO_TIMESTAMP, &t, sizeof t);
  }
  write_packet_info(d, out);
  const bool v6 = IP_IS_V6_VAL(d.to);
  if (wants_time_to_live_) {
    const int number = d.time_to_live;
    out.add(v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_HOPLIMIT : IP_TTL, &number, sizeof number);
  }
  if (wants_type_of_service_ && v6) {
    const int number = d.type_of_service;
    out.add(IPPROTO_IPV6, IPV6_TCLASS, &number, sizeof number);
  } else if (wants_type_of_service_) {
    out.add(IPPROTO_IP, IP_TOS, &d.type_of_service, sizeof d.type_of_service);
  }
}

} // namespace oblako::net
