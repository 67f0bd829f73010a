// Which packets were sent not long ago, for those that have no connection to ask: a report about
// one of them is believed only if it was really sent. One word of a keyed hash each and its time;
// what falls on the same place takes it over, and a report about the former is lost then, as any
// packet may be. Not locked.
#pragma once

#include "core/base/types.hh"
#include "core/mem/heap.hh"

namespace oblako::net {

class sent_packets : noncopyable {
public:
  static constexpr uint32_t lifetime_ms = 10'000;

  // Before the first note(); `places` is a power of two. Without memory nothing is known.
  bool is_made() const { return places_ != nullptr; }
  void make(unsigned places) {
    places_ = static_cast<place*>(mem::allocate_zeroed(places * sizeof(place)));
    count_ = places;
  }
  void note(uint64_t hash, uint32_t now) {
    if (places_)
      places_[hash & (count_ - 1)] = {tag_of(hash), now};
  }
  bool knows(uint64_t hash, uint32_t now) const {
    if (!places_)
      return false;
    const place& p = places_[hash & (count_ - 1)];
    return p.tag == tag_of(hash) && now - p.sent < lifetime_ms;
  }

private:
  struct place {
    uint32_t tag, sent;
  };
  // Never that of an empty place.
  static uint32_t tag_of(uint64_t hash) { return static_cast<uint32_t>(hash >> 32) | 1; }

  place* places_ = nullptr;
  unsigned count_ = 0;
};

} // namespace oblako::net
