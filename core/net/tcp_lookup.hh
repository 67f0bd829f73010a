// Private to core/net: finding a connection over IPv4 (tcp_lookup.cc), and a listener
// (tcp_ports.cc).
#pragma once

#include "lwip/tcp.h"
#include <stddef.h>
#include <stdint.h>

namespace oblako::net {

// Buckets of connections, chained by hash_next.
struct connection_table {
  tcp_pcb** buckets;
  unsigned shift; // of a 64-bit hash, down to a bucket's number
  unsigned count; // of connections
  // Odd multipliers drawn at start, so that nobody outside can aim at one bucket.
  uint64_t keys[3];

  size_t bucket_count() const { return size_t{1} << (64 - shift); }
  uint64_t hash_ip4(uint32_t remote_ip, uint32_t ports) const {
    return ports * keys[0] + remote_ip * keys[1];
  }
};
extern connection_table connections;

// Addresses as they lie in packets; `ports` in the host's order, the remote one in the upper half.
inline tcp_pcb* find_connection(uint32_t local_ip, uint32_t remote_ip, uint32_t ports) {
  const connection_table& t = connections;
  for (tcp_pcb* c = t.buckets[t.hash_ip4(remote_ip, ports) >> t.shift]; c; c = c->hash_next)
    if (c->remote_port == ports >> 16 && c->local_port == (ports & 0xffff) &&
        ip4_addr_get_u32(ip_2_ip4(&c->remote_ip)) == remote_ip && IP_IS_V4_VAL(c->remote_ip) &&
        ip4_addr_get_u32(ip_2_ip4(&c->local_ip)) == local_ip)
      return c;
  return nullptr;
}

// The listener that a connection from `remote` to `local` gets: the one at the most specific
// address (the address itself, then any of its family, then any of both), and of several there
// (SO_REUSEPORT) the one for this flow. nullptr: none. Context: the stack's lock is held.
tcp_pcb_listen* find_listener(const ip_addr_t& local_ip, uint16_t local_port,
                              const ip_addr_t& remote_ip, uint16_t remote_port);

// Of the listeners that share the found one's address (SO_REUSEPORT), the one that gets the flow
// (shared_address.cc).
tcp_pcb_listen* choose_listener(tcp_pcb_listen* found, const ip_addr_t& remote_ip,
                                uint16_t remote_port);

} // namespace oblako::net
