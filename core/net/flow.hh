// What tells one TCP connection from another, in a form that can be compared and hashed as bytes,
// without lwIP.
#pragma once

#include "core/net/siphash.hh"

namespace oblako::net {

struct flow {
  uint32_t remote[4] = {}, local[4] = {}; // as in packets; an IPv4 address is the first word
  uint16_t remote_port = 0, local_port = 0;
  uint8_t version = 4; // 4 or 6
  uint8_t zone = 0;    // of link-local IPv6 addresses
  uint16_t unused = 0;

  bool operator==(const flow& o) const { return __builtin_memcmp(this, &o, sizeof o) == 0; }
};
static_assert(sizeof(flow) == 40); // no padding: compared and hashed as it lies

inline uint64_t hash_of(const flow& f, const siphash_key& key) {
  return siphash_2_4(key, &f, sizeof f);
}

} // namespace oblako::net
