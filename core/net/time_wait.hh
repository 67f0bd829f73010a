// Connections that have ended here in order and whose last segments may still be under way
// (TIME_WAIT): one small record each instead of a control block, in a hash table and in the order
// of their ends. All wait equally long, so a record that is added or restarted is the last to go.
//
// Invariants: a record is in exactly one bucket and in the list once; the list is sorted by `ends`;
// count() never exceeds the limit: the oldest record gives way to a new one. Not locked.
#pragma once

#include "core/base/types.hh"
#include "core/net/flow.hh"

namespace oblako::net {

struct time_wait_record {
  time_wait_record* in_bucket;
  time_wait_record *older, *younger;
  flow key;
  uint32_t ends;         // milliseconds of TCP's clock
  uint32_t receive_next; // RCV.NXT: beyond the other side's FIN
  uint32_t send_next;    // SND.NXT: beyond ours
  uint16_t window;       // as it was last announced
};
static_assert(sizeof(time_wait_record) <= 80);

class time_wait_table : noncopyable {
public:
  // Nothing is allocated before the first record.
  constexpr time_wait_table(uint32_t duration_ms) : duration_(duration_ms) {}
  void set_limit(unsigned records) { limit_ = records; }

  // hash_function(flow) gives the hash that the other calls are given. Returns nullptr if there is
  // no memory: the connection is then forgotten at once.
  template <class hash_function>
  time_wait_record* add(const flow& f, hash_function&& hash, uint32_t now) {
    const uint64_t h = hash(f);
    if (time_wait_record* known = find(f, h)) {
      restart(*known, now);
      return known;
    }
    if (count_ >= limit_ && oldest_)
      remove(*oldest_, hash(oldest_->key));
    return add_new(f, h, now);
  }
  time_wait_record* find(const flow& f, uint64_t hash) const;
  void remove(time_wait_record& r, uint64_t hash);
  // Another copy of the FIN came: the wait begins again.
  void restart(time_wait_record& r, uint32_t now);
  // Drops what has waited long enough; hash_function(flow) as given to add().
  template <class hash_function>
  void expire(uint32_t now, hash_function&& hash) {
    while (oldest_ && static_cast<int32_t>(now - oldest_->ends) >= 0)
      remove(*oldest_, hash(oldest_->key));
  }
  // nullptr: none.
  const time_wait_record* oldest() const { return oldest_; }
  unsigned count() const { return count_; }

private:
  time_wait_record*& bucket(uint64_t hash) const { return buckets_[hash & (bucket_count_ - 1)]; }
  time_wait_record* add_new(const flow& f, uint64_t hash, uint32_t now);
  bool make_buckets();
  void append(time_wait_record& r);
  void unlink(time_wait_record& r);

  const uint32_t duration_;
  unsigned limit_ = 1024, count_ = 0;
  time_wait_record** buckets_ = nullptr;
  unsigned bucket_count_ = 0;
  time_wait_record *oldest_ = nullptr, *youngest_ = nullptr;
};

} // namespace oblako::net
