// SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed hash of short inputs that cannot be predicted
// without the key.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace oblako::net {

struct siphash_key {
  uint64_t k0, k1;
};

inline uint64_t siphash_2_4(const siphash_key& key, const void* data, size_t length) {
  struct state {
    uint64_t v0, v1, v2, v3;
    static uint64_t rotate(uint64_t x, unsigned n) { return x << n | x >> (64 - n); }
    void round() {
      v0 += v1, v1 = rotate(v1, 13), v1 ^= v0, v0 = rotate(v0, 32);
      v2 += v3, v3 = rotate(v3, 16), v3 ^= v2;
      v0 += v3, v3 = rotate(v3, 21), v3 ^= v0;
      v2 += v1, v1 = rotate(v1, 17), v1 ^= v2, v2 = rotate(v2, 32);
    }
    void absorb(uint64_t word) {
      v3 ^= word;
      round();
      round();
      v0 ^= word;
    }
  };
  state s{key.k0 ^ 0x736f6d6570736575, key.k1 ^ 0x646f72616e646f6d, key.k0 ^ 0x6c7967656e657261,
          key.k1 ^ 0x7465646279746573};
  const auto* bytes = static_cast<const uint8_t*>(data);
  uint64_t word;
  size_t at = 0;
  for (; at + 8 <= length; at += 8) {
    __builtin_memcpy(&word, bytes + at, 8);
    s.absorb(word);
  }
  word = static_cast<uint64_t>(length) << 56;
  for (unsigned shift = 0; at < length; ++at, shift += 8)
    word |= static_cast<uint64_t>(bytes[at]) << shift;
  s.absorb(word);
  s.v2 ^= 0xff;
  for (int i = 0; i < 4; ++i)
    s.round();
  return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

} // namespace oblako::net
