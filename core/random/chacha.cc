#include "core/random/chacha.hh"

namespace oblako::random {

namespace {

constexpr uint32_t rotate(uint32_t v, int n) {
  return v << n | v >> (32 - n);
}

void quarter_round(uint32_t& a, uint32_t& b, uint32_t& c, uint32_t& d) {
  a += b;
  d = rotate(d ^ a, 16);
  c += d;
  b = rotate(b ^ c, 12);
  a += b;
  d = rotate(d ^ a, 8);
  c += d;
  b = rotate(b ^ c, 7);
}

} // namespace

void chacha_block(const uint32_t (&key)[8], uint32_t counter, uint32_t (&out)[16]) {
  uint32_t start[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
  for (int i = 0; i < 8; ++i)
    start[4 + i] = key[i];
  start[12] = counter;
  for (int i = 0; i < 16; ++i)
    out[i] = start[i];
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < 4; ++i)
      quarter_round(out[i], out[4 + i], out[8 + i], out[12 + i]);
    for (int i = 0; i < 4; ++i)
      quarter_round(out[i], out[4 + (i + 1) % 4], out[8 + (i + 2) % 4], out[12 + (i + 3) % 4]);
  }
  for (int i = 0; i < 16; ++i)
    out[i] += start[i];
}

} // namespace oblako::random
