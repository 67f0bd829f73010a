// SO_REUSEPORT: sockets that share an address share what comes in for it. Which of them gets a flow
// follows from the flow alone (rendezvous hashing): the same one as long as it is there, and when
// one goes only its flows move.
#include "core/net/port.hh"
#include "core/net/tcp_lookup.hh"
#include "core/net/tcp_ports.hh"
#include "core/net/tcp_socket.hh"
#include "core/net/udp_socket.hh"
#include "hooks.h"
#include "lwip/ip.h"
#include "lwip/priv/tcp_priv.h"

using namespace oblako;
using namespace oblako::net;

namespace {

struct flow {
  uint64_t hash;
};

uint64_t mix(uint64_t x) {
  x ^= x >> 32;
  x *= 0xd6e8feb86659fd93;
  return x ^ x >> 32;
}

flow flow_from(const ip_addr_t& remote_ip, uint16_t remote_port) {
  static uint32_t secret; // so that nobody outside can aim at one socket
  while (secret == 0)
    secret = random_word();
  const uint32_t* a = ip_2_ip6(&remote_ip)->addr; // an IPv4 address is the first word
  uint64_t hash = mix(uint64_t{secret} << 32 | a[0]);
  if (IP_IS_V6_VAL(remote_ip))
    hash = mix(mix(hash ^ (uint64_t{a[1]} << 32 | a[2])) ^ a[3]);
  return {mix(hash ^ remote_port)};
}

uint64_t weight(flow f, const void* member) {
  return mix(f.hash ^ reinterpret_cast<uintptr_t>(member) * 0x9e3779b97f4a7c15);
}

udp_pcb* next_of(const udp_pcb* u) {
  return u->next;
}
tcp_pcb_listen* next_of(const tcp_pcb_listen* l) {
  return l->port_next;
}

// Of the control blocks in the list that are in `found`'s group, the one with the largest weight.
template <class Block, class InGroup>
Block* heaviest(Block* list, Block* found, flow f, InGroup in_group) {
  Block* best = found;
  uint64_t best_weight = weight(f, found);
  for (Block* b = list; b; b = next_of(b)) {
    if (b == found || b->local_port != found->local_port ||
        !ip_addr_cmp(&b->local_ip, &found->local_ip) || !in_group(b))
      continue;
    const uint64_t w = weight(f, b);
    if (w > best_weight) {
      best = b;
      best_weight = w;
    }
  }
  return best;
}

} // namespace

namespace oblako::net {

tcp_pcb_listen* choose_listener(tcp_pcb_listen* found, const ip_addr_t& remote_ip,
                                uint16_t remote_port) {
  const auto shares = [](const tcp_pcb_listen* l) {
    return l->callback_arg && static_cast<tcp_socket*>(l->callback_arg)->shares_port();
  };
  if (!shares(found)) [[likely]]
    return found;
  return heaviest(users_of(found->local_port)->listeners, found, flow_from(remote_ip, remote_port),
                  shares);
}

} // namespace oblako::net

extern "C" udp_pcb* oblako_udp_receiver(udp_pcb* found, u16_t remote_port) {
  const auto shares = [](const udp_pcb* u) {
    const udp_socket* owner = udp_socket::owner_of(*u);
    return owner && !(u->flags & UDP_FLAGS_CONNECTED) && owner->shares_port();
  };
  if (!shares(found)) [[likely]]
    return found;
  return heaviest(udp_pcbs, found, flow_from(*ip_current_src_addr(), remote_port), shares);
}
