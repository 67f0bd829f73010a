// What a netlink socket answers: the interfaces, and their addresses.
#include "core/net/interface_query.hh"
#include "core/net/netlink.hh"

#include "lwip/netif.h"
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <string.h>

namespace oblako::net {

void netlink_writer::append(const void* from, size_t bytes) {
  const size_t padded = (bytes + 3) & ~size_t{3};
  if (used_ + padded <= room_) {
    memcpy(buffer_ + used_, from, bytes);
    memset(buffer_ + used_ + bytes, 0, padded - bytes);
  }
  used_ += padded;
}

void netlink_writer::end_message() {
  const auto length = static_cast<uint32_t>(used_ - message_);
  if (used_ != message_ && used_ <= room_)
    memcpy(buffer_ + message_, &length, sizeof length);
  message_ = used_;
}

void netlink_writer::begin(uint16_t type, uint16_t flags, const void* body, size_t bytes) {
  end_message();
  const spec::netlink_header header = {
      .length = 0, .type = type, .flags = flags, .sequence = request_.sequence, .port = port_};
  append(&header, sizeof header);
  append(body, bytes);
}

void netlink_writer::attribute(uint16_t type, const void* value, size_t bytes) {
  const spec::netlink_attribute head = {
      .length = static_cast<uint16_t>(sizeof(spec::netlink_attribute) + bytes), .type = type};
  append(&head, sizeof head);
  append(value, bytes);
}

size_t netlink_writer::finish() {
  end_message();
  return min_of(used_, room_);
}

namespace {

enum scope : uint8_t { everywhere = 0, link = 253, host = 254 };
constexpr uint8_t tentative = 0x40, permanent = 0x80;

bool is_loopback(const netif& n) {
  return n.name[0] == 'l';
}

void name_attribute(netlink_writer& out, uint16_t type, const netif& n) {
  char name[IFNAMSIZ];
  interface_name(n, name);
  out.attribute(type, name, strlen(name) + 1);
}

void append_link(netlink_writer& out, const netif& n) {
  static constexpr uint8_t zeros[NETIF_MAX_HWADDR_LEN] = {};
  static constexpr uint8_t ones[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  const spec::link_info info = {
      .family = AF_UNSPEC,
      .pad = 0,
      .hardware_type = static_cast<uint16_t>(is_loopback(n) ? ARPHRD_LOOPBACK : ARPHRD_ETHER),
      .index = netif_get_index(&n),
      .flags = interface_flags(n),
      .change = 0};
  out.begin(spec::new_link, spec::part_of_many, &info, sizeof info);
  name_attribute(out, spec::link_name, n);
  const uint32_t mtu = interface_mtu(n);
  out.attribute(spec::link_mtu, &mtu, sizeof mtu);
  out.attribute(spec::link_address, n.hwaddr_len ? n.hwaddr : zeros, sizeof ones);
  out.attribute(spec::link_broadcast, is_loopback(n) ? zeros : ones, sizeof ones);
}

// Of a mask in network byte order.
uint8_t prefix_length(uint32_t mask) {
  return static_cast<uint8_t>(mask ? 32 - __builtin_ctz(__builtin_bswap32(mask)) : 0);
}

void append_ipv4(netlink_writer& out, const netif& n) {
  const uint32_t address = ip4_addr_get_u32(netif_ip4_addr(&n));
  const uint32_t mask = ip4_addr_get_u32(netif_ip4_netmask(&n));
  if (address == 0)
    return;
  const spec::address_info info = {.family = AF_INET,
                                   .prefix_length = prefix_length(mask),
                                   .flags = permanent,
                                   .scope = is_loopback(n) ? host : everywhere,
                                   .index = netif_get_index(&n)};
  out.begin(spec::new_address, spec::part_of_many, &info, sizeof info);
  out.attribute(spec::interface_address, &address, sizeof address);
  out.attribute(spec::local_address, &address, sizeof address);
  const uint32_t broadcast = address | ~mask;
  if (!is_loopback(n))
    out.attribute(spec::broadcast_address, &broadcast, sizeof broadcast);
  name_attribute(out, spec::address_label, n);
}

void append_ipv6(netlink_writer& out, const netif& n) {
  for (s8_t i = 0; i < LWIP_IPV6_NUM_ADDRESSES; ++i) {
    const uint8_t state = netif_ip6_addr_state(&n, i);
    if (ip6_addr_isinvalid(state))
      continue;
    const ip6_addr_t& a = *netif_ip6_addr(&n, i);
    const bool loopback = ip6_addr_isloopback(&a);
    const spec::address_info info = {
        .family = AF_INET6,
        .prefix_length = static_cast<uint8_t>(loopback ? 128 : 64),
        .flags = static_cast<uint8_t>((ip6_addr_istentative(state) ? tentative : 0) |
                                      (netif_ip6_addr_isstatic(&n, i) ? permanent : 0)),
        .scope = loopback                   ? host
                 : ip6_addr_islinklocal(&a) ? link
                                            : everywhere,
        .index = netif_get_index(&n)};
    out.begin(spec::new_address, spec::part_of_many, &info, sizeof info);
    out.attribute(spec::interface_address, a.addr, 16);
  }
}

// In the order of their numbers, as Linux lists them; lwIP's list has the newest first.
template <class F>
void each_interface(F f) {
  for (unsigned index = 1; index <= UINT8_MAX; ++index)
    if (const netif* n = netif_get_by_index(static_cast<u8_t>(index)))
      f(*n);
}

} // namespace

size_t list_size() {
  constexpr size_t of_a_link = 96, of_an_address = 80;
  size_t bytes = 64; // its end
  for (const netif* n = netif_list; n; n = n->next)
    bytes += max_of(of_a_link, of_an_address * (1 + LWIP_IPV6_NUM_ADDRESSES));
  return bytes;
}

void list_links(netlink_writer& out) {
  each_interface([&](const netif& n) { append_link(out, n); });
}

void list_addresses(netlink_writer& out, uint8_t family) {
  if (family != AF_INET6)
    each_interface([&](const netif& n) { append_ipv4(out, n); });
  if (family != AF_INET)
    each_interface([&](const netif& n) { append_ipv6(out, n); });
}

} // namespace oblako::net
