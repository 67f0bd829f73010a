#include "core/random/chacha.hh"

namespace oblako::random {

namespace {

constexpr uint32_t rotate(uint32_t v, int n) {
  return v << n | v >> (32 - n);
}

inline void quarter_round(uint32_t& a, uint32_t& b, uint32_t& c, uint32_t& d) {
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
  const uint32_t start[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574, key[0], key[1],
                              key[2],     key[3],     key[4],     key[5],     key[6], key[7],
                              counter,    0,          0,          0};
  uint32_t x[16];
  for (int i = 0; i < 16; ++i)
    x[i] = start[i];
  // Written out, so that the words live in registers.
  for (int round = 0; round < 10; ++round) {
    quarter_round(x[0], x[4], x[8], x[12]);
    quarter_round(x[1], x[5], x[9], x[13]);
    quarter_round(x[2], x[6], x[10], x[14]);
    quarter_round(x[3], x[7], x[11], x[15]);
    quarter_round(x[0], x[5], x[10], x[15]);
    quarter_round(x[1], x[6], x[11], x[12]);
    quarter_round(x[2], x[7], x[8], x[13]);
    quarter_round(x[3], x[4], x[9], x[14]);
  }
  for (int i = 0; i < 16; ++i)
    out[i] = x[i] + start[i];
}

} // namespace oblako::random
