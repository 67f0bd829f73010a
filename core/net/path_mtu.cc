#include "core/net/path_mtu.hh"

#include "core/mem/frames.hh"
#include "core/net/path_mtu_table.hh"
#include "core/net/port.hh"
#include "core/net/sent_packets.hh"
#include "core/net/tcp_path.hh"
#include "core/net/timers.hh"
#include "hooks.h"
#include "lwip/ip.h"
#include "lwip/netif.h"
#include "lwip/priv/tcp_priv.h"

namespace oblako::net {
namespace {

// A four-thousandth of memory may know paths, and an eight-thousandth what was sent.
constexpr uint64_t memory_per_path = 256_KiB, memory_per_packet = 64_KiB;
constexpr unsigned fewest_paths = 64, fewest_packets = 64;

constinit path_mtu_table paths;
constinit sent_packets sent;
siphash_key key;   // zero: not drawn yet
bool paths_differ; // since run_path_mtu() looked
uint32_t links_seen;

unsigned share_of_memory(uint64_t each, unsigned fewest) {
  return static_cast<unsigned>(
      min_of<uint64_t>(max_of<uint64_t>(mem::frame_usage().total_bytes / each, fewest), 1u << 30));
}

void draw_key() {
  if ((key.k0 | key.k1) != 0)
    return;
  key = {uint64_t{random_word()} << 32 | random_word(), uint64_t{random_word()} << 32 | 1};
  paths.set_limit(share_of_memory(memory_per_path, fewest_paths));
}

destination destination_of(const ip_addr_t& a) {
  destination d;
  if (IP_IS_V6_VAL(a)) {
    __builtin_memcpy(d.address, ip_2_ip6(&a)->addr, sizeof d.address);
    d.version = 6;
    d.zone = ip6_addr_zone(ip_2_ip6(&a));
  } else {
    d.address[0] = ip4_addr_get_u32(ip_2_ip4(&a));
  }
  return d;
}

uint64_t hash_of(const sent_packet& p) {
  struct {
    destination to;
    uint32_t protocol, first_word;
  } packet = {destination_of(p.to), p.protocol, p.first_word};
  return siphash_2_4(key, &packet, sizeof packet);
}

unsigned places_for_packets() {
  unsigned places = fewest_packets;
  while (places < share_of_memory(memory_per_packet, fewest_packets))
    places *= 2;
  return places;
}

uint32_t links() {
  uint32_t all = 0;
  netif* n;
  NETIF_FOREACH(n)
  all = all * 65'599 + netif_mtu6(n);
  return all;
}

} // namespace

uint16_t link_mtu(const netif& n, bool ipv6) {
  return n.mtu == 0 ? 0 : ipv6 ? netif_mtu6(&n) : n.mtu;
}

uint16_t path_mtu(const netif& n, const ip_addr_t& to) {
  const uint16_t link = link_mtu(n, IP_IS_V6_VAL(to));
  if (link == 0 || paths.empty()) [[likely]]
    return link;
  const destination d = destination_of(to);
  const uint16_t known = paths.find(d, hash_of(d, key));
  return known != 0 ? min_of(known, link) : link;
}

int path_mtu_between(const ip_addr_t& from, const ip_addr_t& to) {
  constexpr int loopback_mtu = 65'536;
  const netif* n = ip_route(&from, &to);
  const int mtu = n ? path_mtu(*n, to) : 0;
  return n && mtu == 0 ? loopback_mtu : mtu;
}

uint16_t believable_mtu(bool ipv6, uint32_t reported) {
  const uint16_t least = least_path_mtu(ipv6);
  if (reported < least)
    return ipv6 ? 0 : least;
  return static_cast<uint16_t>(min_of<uint32_t>(reported, 0xffff));
}

void narrow_path(const ip_addr_t& to, uint16_t mtu) {
  draw_key();
  const destination d = destination_of(to);
  paths_differ |= paths.learn(d, hash_of(d, key), mtu, tcp_ticks);
}

bool was_sent(const sent_packet& p) {
  return sent.knows(hash_of(p), tcp_ticks);
}

void run_path_mtu() {
  const bool wider = paths.expire(tcp_ticks);
  const uint32_t now = links();
  if (wider || paths_differ || now != links_seen)
    resize_segments();
  paths_differ = false;
  links_seen = now;
}

} // namespace oblako::net

using namespace oblako::net;

extern "C" {

u16_t oblako_ip4_path_mtu(const netif* n, const ip4_addr_t* to) {
  ip_addr_t a = {};
  ip_addr_copy_from_ip4(a, *to);
  return path_mtu(*n, a);
}

u16_t oblako_ip6_path_mtu(const netif* n, const ip6_addr_t* to) {
  ip_addr_t a = {};
  ip_addr_copy_from_ip6(a, *to);
  return path_mtu(*n, a);
}

// `p` begins with an IP header that has just been made.
void oblako_ip_sent_whole(pbuf* p, u16_t header) {
  sent_packet s = {};
  if (p->tot_len <= least_path_mtu(header == IP6_HLEN) ||
      pbuf_copy_partial(p, &s.first_word, sizeof s.first_word, header) != sizeof s.first_word)
    return;
  if (header == IP6_HLEN) {
    const auto* h = static_cast<const ip6_hdr*>(p->payload);
    ip_addr_copy_from_ip6_packed(s.to, h->dest);
    s.protocol = IP6H_NEXTH(h);
  } else {
    const auto* h = static_cast<const ip_hdr*>(p->payload);
    ip_addr_copy_from_ip4(s.to, h->dest);
    s.protocol = IPH_PROTO(h);
  }
  draw_key();
  if (!sent.is_made())
    sent.make(places_for_packets());
  freshen_tcp_clock();
  sent.note(hash_of(s), tcp_ticks);
}

// What a packet to us may have is the interface's affair, whatever the way there takes.
u16_t oblako_tcp_announced_mss(const netif* n, const ip_addr_t* to) {
  const bool v6 = IP_IS_V6(to);
  const uint16_t mtu = link_mtu(*n, v6), headers = (v6 ? IP6_HLEN : IP_HLEN) + TCP_HLEN;
  return static_cast<u16_t>(mtu == 0        ? TCP_MSS
                            : mtu > headers ? LWIP_MIN(TCP_MSS, mtu - headers)
                                            : 0);
}

} // extern "C"
