// What the relay does to a packet, decided by the packet's number, its direction and a seed alone:
// the same run with the same seed meets the same faults.
#pragma once

#include <set>
#include <stdint.h>

namespace relay {

struct faults {
  uint64_t seed = 1;
  // Of a million packets, so many.
  uint32_t drop = 0, reorder = 0, duplicate = 0, flip = 0;
  std::set<uint64_t> drop_these; // packet numbers, from 1
  uint32_t reorder_distance = 3; // packets that overtake
  uint64_t delay_ns = 0;
  uint64_t rate = 0;           // bytes a second, 0: no limit
  uint64_t queue = 128 * 1024; // bytes that wait for a limited rate; more are dropped
};

enum class fate : uint8_t { pass, drop, reorder, duplicate, flip };

// Context for the hash: what a random number is for.
inline uint64_t number_for(uint64_t seed, uint64_t direction, uint64_t packet, uint64_t purpose) {
  // splitmix64's finaliser over a sum of odd multiples.
  uint64_t x = seed * 0x9e3779b97f4a7c15 + direction * 0xd1342543de82ef95 +
               packet * 0x2545f4914f6cdd1d + purpose * 0x94d049bb133111eb;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return x ^ x >> 31;
}

inline fate fate_of(const faults& f, unsigned direction, uint64_t packet) {
  if (f.drop_these.count(packet))
    return fate::drop;
  auto hit = [&](uint32_t per_million, uint64_t purpose) {
    return number_for(f.seed, direction, packet, purpose) % 1'000'000 < per_million;
  };
  if (hit(f.drop, 1))
    return fate::drop;
  if (hit(f.flip, 2))
    return fate::flip;
  if (hit(f.reorder, 3))
    return fate::reorder;
  if (hit(f.duplicate, 4))
    return fate::duplicate;
  return fate::pass;
}

} // namespace relay
