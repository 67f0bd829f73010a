// What header prediction (tcp_predict.cc) does differently over IPv6. A link-local address is one
// only together with its interface: such connections take the long way.
#include "core/net/tcp_frames.hh"
#include "core/net/tcp_lookup.hh"
#include "hooks.h"

namespace oblako::net {
namespace {

// Ethernet's type and IP's version; not the traffic class.
constexpr uint32_t link_mask = 0x00f0ffff, link_wanted = 0x0060dd86;

bool link_local(const uint32_t (&address)[4]) {
  return (address[0] & PP_HTONL(0xffc00000)) == PP_HTONL(0xfe800000);
}

bool same(const uint32_t (&a)[4], const uint32_t (&b)[4]) {
  return __builtin_memcmp(a, b, sizeof a) == 0;
}

// Preferred and deprecated addresses are; one that is still being tested is not (RFC 4862).
bool is_address_of(const interface& i, const uint32_t (&address)[4]) {
  for (s8_t k = 0; k < LWIP_IPV6_NUM_ADDRESSES; ++k)
    if (ip6_addr_isvalid(netif_ip6_addr_state(&i.n, k)) &&
        same(netif_ip6_addr(&i.n, k)->addr, address))
      return true;
  return false;
}

neighbour6& slot_of6(interface& i, const uint32_t (&ip)[4]) {
  return i.neighbours6[(ip[3] >> 24 ^ ip[3] >> 16) % interface::neighbour6_count];
}

ip_addr_t address_of(const uint32_t* words) {
  ip_addr_t a = {};
  __builtin_memcpy(ip_2_ip6(&a)->addr, words, sizeof ip_2_ip6(&a)->addr);
  IP_SET_TYPE_VAL(a, IPADDR_TYPE_V6);
  return a;
}

} // namespace

tcp_pcb* find_ordinary6(const interface& i, const uint8_t* frame, uint32_t length) {
  const auto& f = *reinterpret_cast<const tcp_frame6*>(frame);
  if (length < sizeof f || (load32(frame + 12) & link_mask) != link_wanted ||
      f.next != protocol_tcp || (f.t.length_and_flags & tcp_mask) != tcp_wanted || (frame[0] & 1) ||
      f.t.window == 0 || __builtin_bswap16(f.length) != length - offsetof(tcp_frame6, t))
    return nullptr;
  uint32_t to[4], from[4];
  __builtin_memcpy(to, f.to, sizeof to);
  __builtin_memcpy(from, f.from, sizeof from);
  if (link_local(to) || link_local(from) || !is_address_of(i, to))
    return nullptr;
  const ip_addr_t local = address_of(to), remote = address_of(from);
  return oblako_tcp_find(&local, __builtin_bswap16(f.t.destination), &remote,
                         __builtin_bswap16(f.t.source));
}

void learn_neighbour6(interface& i, const void* frame, uint32_t contiguous) {
  const auto& f = *static_cast<const tcp_frame6*>(frame);
  if (contiguous < offsetof(tcp_frame6, t) || (f.ethernet[0] & 1) || f.next != protocol_tcp)
    return;
  uint32_t to[4];
  __builtin_memcpy(to, f.to, sizeof to);
  if (link_local(to))
    return;
  neighbour6& n = slot_of6(i, to);
  __builtin_memcpy(n.ip, to, sizeof n.ip);
  n.learnt = tcp_ticks;
  __builtin_memcpy(n.header, f.ethernet, sizeof n.header);
  last_learnt = &i;
}

const uint8_t* way_of6(const tcp_pcb& c) {
  const auto& to = ip_2_ip6(&c.remote_ip)->addr;
  const neighbour6& way = slot_of6(*last_learnt, to);
  const bool known = way.learnt != 0 && same(way.ip, to) &&
                     tcp_ticks - way.learnt < neighbour_lifetime &&
                     is_address_of(*last_learnt, ip_2_ip6(&c.local_ip)->addr);
  return known ? way.header : nullptr;
}

void fill_in6(tcp_frame6& f, const tcp_pcb& c, const uint8_t* ethernet, uint32_t bytes,
              uint8_t flags) {
  const auto length = static_cast<uint16_t>(sizeof(tcp_fields) + bytes);
  const auto& from = ip_2_ip6(&c.local_ip)->addr;
  const auto& to = ip_2_ip6(&c.remote_ip)->addr;
  __builtin_memcpy(f.ethernet, ethernet, sizeof f.ethernet);
  f.version_class_label = __builtin_bswap32(6u << 28 | uint32_t{c.tos} << 20);
  f.length = __builtin_bswap16(length);
  f.next = protocol_tcp;
  f.hop_limit = c.ttl;
  __builtin_memcpy(f.from, from, sizeof f.from);
  __builtin_memcpy(f.to, to, sizeof f.to);
  fill_in(f.t, c, flags);
  uint64_t sum = (uint32_t{protocol_tcp} << 8) + __builtin_bswap16(length);
  for (unsigned k = 0; k < 4; ++k)
    sum += uint64_t{from[k]} + to[k];
  f.t.checksum = fold(sum);
}

} // namespace oblako::net
