// The table in which lwIP's input finds the connection of a segment (patch 08): established,
// half-open and TIME_WAIT connections together, chained in buckets.
#include "core/net/tcp_lookup.hh"

#include "core/base/types.hh"
#include "core/log/log.hh"
#include "core/mem/frames.hh"
#include "core/mem/heap.hh"
#include "core/net/port.hh"
#include "core/net/tcp_deferred.hh"
#include "core/net/tcp_timers.hh"
#include "hooks.h"
#include "lwip/tcp.h"

namespace oblako::net {

// What the heap gives for one: with eight bytes more, each connection would take 64 more.
static_assert(sizeof(tcp_pcb) <= 512);

connection_table connections;

namespace {

tcp_pcb** bucket_of(const ip_addr_t* remote_ip, uint16_t remote_port, uint16_t local_port) {
  const uint32_t* a = ip_2_ip6(remote_ip)->addr; // an IPv4 address is the first word
  uint64_t hash = connections.hash_ip4(a[0], uint32_t{remote_port} << 16 | local_port);
  if (IP_IS_V6(remote_ip))
    hash += ((uint64_t{a[1]} << 32 | a[3]) ^ a[2]) * connections.keys[2];
  return &connections.buckets[hash >> connections.shift];
}

} // namespace

void make_connection_table() {
  // One bucket for every 64 kB of memory.
  unsigned bits = 8;
  while (bits < 16 && (mem::frame_usage().total_bytes >> 16) > (uint64_t{1} << bits))
    ++bits;
  void* memory;
  while (!(memory = mem::allocate_zeroed(sizeof(tcp_pcb*) << bits)))
    if (--bits == 0)
      log::panic("net: no memory for the connection table");
  connections.buckets = static_cast<tcp_pcb**>(memory);
  connections.shift = 64 - bits;
  for (uint64_t& k : connections.keys)
    k = uint64_t{random_word()} << 32 | random_word() | 1;
}

} // namespace oblako::net

using namespace oblako::net;

extern "C" {

void oblako_tcp_added(tcp_pcb* c) {
  tcp_pcb** bucket = bucket_of(&c->remote_ip, c->remote_port, c->local_port);
  c->hash_next = *bucket;
  if (c->hash_next)
    c->hash_next->hash_link = &c->hash_next;
  c->hash_link = bucket;
  *bucket = c;
  ++connections.count;
  if (!c->port_link) // accepted: its listener has the port, so this takes no memory
    (void)oblako_tcp_bound(c);
}

void oblako_tcp_removed(tcp_pcb* c) {
  forget_deferred(c);
  forget_connection(*c);
  oblako_tcp_unbound(c);
  if (!c->hash_link)
    return;
  *c->hash_link = c->hash_next;
  if (c->hash_next)
    c->hash_next->hash_link = c->hash_link;
  c->hash_link = nullptr;
  --connections.count;
}

tcp_pcb* oblako_tcp_find(const ip_addr_t* local_ip, u16_t local_port, const ip_addr_t* remote_ip,
                         u16_t remote_port) {
  for (tcp_pcb* c = *bucket_of(remote_ip, remote_port, local_port); c; c = c->hash_next)
    if (c->remote_port == remote_port && c->local_port == local_port &&
        ip_addr_cmp(&c->remote_ip, remote_ip) && ip_addr_cmp(&c->local_ip, local_ip))
      return c;
  return nullptr;
}

} // extern "C"
