// SYN cookies: what has to be remembered of a SYN, hidden in the sequence number of the answer, for
// when the queue of half-open connections is full. 24 bits are a keyed hash of the connection, of
// the other side's sequence number and of the time; 8 bits are the options: three for the segment
// size, rounded down to one of a table, four for the window scale, one for SACK.
#pragma once

#include "core/net/flow.hh"

namespace oblako::net {

// What the two sides agree on in their SYNs.
struct syn_options {
  static constexpr uint8_t not_scaled = 15;

  uint16_t mss = 536;
  uint8_t scale = not_scaled; // the other side's, 0 to 14
  bool sack = false;

  bool operator==(const syn_options&) const = default;
};

constexpr uint16_t cookie_segment_sizes[8] = {64, 536, 1024, 1220, 1360, 1420, 1440, 1460};

// A cookie is good for one to two periods.
constexpr uint32_t cookie_period_ms = 64 * 1024;

inline uint32_t cookie_seal(const siphash_key& key, const flow& f, uint32_t peer_isn,
                            uint32_t period, uint8_t options) {
  struct {
    flow f;
    uint32_t peer_isn, period, options, unused;
  } sealed = {f, peer_isn, period, options, 0};
  return static_cast<uint32_t>(siphash_2_4(key, &sealed, sizeof sealed)) & 0xffffff00;
}

inline uint32_t make_cookie(const siphash_key& key, const flow& f, uint32_t peer_isn,
                            const syn_options& o, uint32_t now_ms) {
  unsigned size = 7;
  while (size != 0 && cookie_segment_sizes[size] > o.mss)
    --size;
  const auto options = static_cast<uint8_t>(size << 5 | (o.scale & 15u) << 1 | o.sack);
  return cookie_seal(key, f, peer_isn, now_ms / cookie_period_ms, options) | options;
}

// False if it is none of ours, or too old.
inline bool open_cookie(const siphash_key& key, const flow& f, uint32_t peer_isn, uint32_t cookie,
                        uint32_t now_ms, syn_options& o) {
  const auto options = static_cast<uint8_t>(cookie);
  const uint32_t period = now_ms / cookie_period_ms;
  for (uint32_t age = 0; age < 2; ++age) {
    if ((cookie & 0xffffff00) != cookie_seal(key, f, peer_isn, period - age, options))
      continue;
    o.mss = cookie_segment_sizes[options >> 5];
    o.scale = options >> 1 & 15;
    o.sack = options & 1;
    return true;
  }
  return false;
}

} // namespace oblako::net
