// What paths take that take less than the interface (RFC 1191, RFC 8201): one small record for each
// destination, in a hash table and in the order in which they were learnt. Nothing is allocated
// before the first.
//
// Invariants: a record is in exactly one bucket and in the list once; the list is sorted by
// `learnt`; count() never exceeds the limit (the oldest gives way). Not locked.
#pragma once

#include "core/base/types.hh"
#include "core/net/siphash.hh"

namespace oblako::net {

struct destination {
  uint32_t address[4] = {}; // as in packets; an IPv4 address is the first word
  uint32_t version = 4;     // 4 or 6
  uint32_t zone = 0;        // of link-local IPv6 addresses

  bool operator==(const destination& o) const { return __builtin_memcmp(this, &o, sizeof o) == 0; }
};
static_assert(sizeof(destination) == 24); // no padding: compared and hashed as it lies

inline uint64_t hash_of(const destination& d, const siphash_key& key) {
  return siphash_2_4(key, &d, sizeof d);
}

class path_mtu_table : noncopyable {
public:
  // A path may have become wider by then (RFC 1191, 6.3; RFC 8201, 5.3).
  static constexpr uint32_t lifetime_ms = 600'000;

  struct record {
    record* in_bucket;
    record *older, *younger;
    uint64_t hash;
    destination to;
    uint32_t learnt; // milliseconds of TCP's clock
    uint16_t mtu;
  };
  static_assert(sizeof(record) <= 64);

  void set_limit(unsigned records) { limit_ = records; }
  bool empty() const { return count_ == 0; }
  unsigned count() const { return count_; }

  // `hash` is the destination's, the same in every call. 0: nothing is known of it.
  uint16_t find(const destination& to, uint64_t hash) const;
  // The path takes no more than this. True if that is news; what is no less than was known is none,
  // and without memory it is as if nobody had said it.
  bool learn(const destination& to, uint64_t hash, uint16_t mtu, uint32_t now);
  // Drops what is too old. True if anything was.
  bool expire(uint32_t now);

private:
  record*& bucket(uint64_t hash) const { return buckets_[hash & (bucket_count_ - 1)]; }
  record* look_up(const destination& to, uint64_t hash) const;
  bool make_buckets();
  void append(record& r);
  void unlink(record& r);
  void remove(record& r);

  unsigned limit_ = 64, count_ = 0;
  record** buckets_ = nullptr;
  unsigned bucket_count_ = 0;
  record *oldest_ = nullptr, *youngest_ = nullptr;
};

} // namespace oblako::net
