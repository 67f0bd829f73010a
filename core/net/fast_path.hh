// Private to core/net: what the short ways through the layers share (fast_path.cc, tcp_predict.cc).
#pragma once

#include "core/net/interface_internal.hh"
#include "lwip/priv/tcp_priv.h"

namespace oblako::net {

constexpr uint32_t neighbour_lifetime = 1000 / TCP_SLOW_INTERVAL; // ticks
constexpr uint8_t protocol_tcp = 6;
constexpr uint16_t type_ipv4 = 0x0008, type_ipv6 = 0xdd86; // as they lie in memory

struct [[gnu::packed]] frame_headers {
  uint8_t ethernet[14];
  uint8_t version, service;
  uint16_t length, id, fragment;
  uint8_t time_to_live, protocol;
  uint16_t checksum;
  uint32_t from, to;
};
static_assert(sizeof(frame_headers) == 34);
constexpr size_t ip_header = 20;
// "Don't fragment", as it lies in memory: TCP cuts its segments to what the path takes
// (path_mtu.hh).
constexpr uint16_t not_to_be_cut = 0x0040;

// Where frames were last sent, and by which interface.
extern interface* last_learnt;

inline neighbour& slot_of(interface& i, uint32_t ip) {
  return i.neighbours[(ip >> 24 ^ ip >> 16) % interface::neighbour_count];
}

// Sums of 32-bit words fold to the ones' complement sum of their halves (RFC 1071): added to itself
// with its halves exchanged, a word has the sum of both, carry and all, in its upper half.
inline uint16_t fold(uint64_t sum) {
  const auto half = static_cast<uint32_t>((sum + (sum << 32 | sum >> 32)) >> 32);
  return static_cast<uint16_t>((half + (half << 16 | half >> 16)) >> 16);
}

inline uint64_t sum_of_header(const void* ip) {
  uint32_t words[ip_header / 4];
  __builtin_memcpy(words, ip, sizeof words);
  return uint64_t{words[0]} + words[1] + words[2] + words[3] + words[4];
}

} // namespace oblako::net
