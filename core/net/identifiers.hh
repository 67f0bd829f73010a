// Identifications of IP datagrams that may be cut into fragments. An observer of some of them must
// not learn from them how many others are sent, to whom, or which comes next (RFC 7739): each is
// the sum of an offset that a keyed hash gives to its source, destination and protocol, and of a
// counter that it shares with few others (RFC 7739, 5.3). Those of one source, destination and
// protocol follow each other, so that none comes again soon.
//
// Not locked.
#pragma once

#include "core/base/types.hh"
#include "core/net/siphash.hh"

namespace oblako::net {

class ip_identifiers : noncopyable {
public:
  struct datagram {
    uint32_t from[4] = {}, to[4] = {}; // an IPv4 address is the first word
    uint32_t protocol = 0;             // IPv6: none, as reassembly does not look at it
  };
  static_assert(sizeof(datagram) == 36); // no padding: hashed as it lies

  // `counters` has a power of two of them.
  void start(const siphash_key& key, uint32_t* counters, uint32_t count) {
    key_ = key;
    counters_ = counters;
    mask_ = count - 1;
  }
  bool is_started() const { return counters_ != nullptr; }

  uint32_t next(const datagram& d) {
    const uint64_t h = siphash_2_4(key_, &d, sizeof d);
    return static_cast<uint32_t>(h >> 32) + counters_[static_cast<uint32_t>(h) & mask_]++;
  }

private:
  siphash_key key_ = {};
  uint32_t* counters_ = nullptr;
  uint32_t mask_ = 0;
};

} // namespace oblako::net
