// clang-format off
// sources: core/random/chacha.cc core/random/random.cc
// clang-format on
// The block function against RFC 8439's vectors, and what a generator must not do.
#include "arch/x64/cpu.hh"
#include "core/log/log.hh"
#include "core/random/chacha.hh"
#include "core/random/random.hh"
#include <cstring>
#include <gtest/gtest.h>
#include <set>
#include <string>
#include <vector>

using namespace oblako;

namespace {
bool has_rdrand = true;
int warnings;
size_t device_gives;
} // namespace

namespace oblako::arch {
bool hardware_random(uint64_t& value) {
  value = has_rdrand ? 0x0123456789abcdef : 0;
  return has_rdrand;
}
} // namespace oblako::arch
namespace oblako::log {
void warning(const char*, ...) {
  ++warnings;
}
} // namespace oblako::log
extern "C" size_t oblako_device_entropy(void* to, size_t bytes) {
  const size_t n = min_of(bytes, device_gives);
  memset(to, 0x5a, n);
  return n;
}

namespace {

std::string hex(const uint32_t (&block)[16]) {
  std::string s;
  for (uint32_t w : block)
    for (int i = 0; i < 4; ++i) {
      char two[3];
      snprintf(two, sizeof two, "%02x", w >> (8 * i) & 0xff);
      s += two;
    }
  return s;
}

// RFC 8439, A.1, test vectors 1 to 3: zero nonce.
TEST(chacha, vectors) {
  uint32_t key[8] = {}, block[16];
  random::chacha_block(key, 0, block);
  EXPECT_EQ(hex(block), "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
                        "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586");
  random::chacha_block(key, 1, block);
  EXPECT_EQ(hex(block), "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed"
                        "29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f");
  key[7] = 0x01000000; // the last byte of the key is 1
  random::chacha_block(key, 1, block);
  EXPECT_EQ(hex(block), "3aeb5224ecf849929b9d828db1ced4dd832025e8018b8160b82284f3c949aa5a"
                        "8eca00bbb4a73bdad192b5c42f73f2fd4e273644c8b36125a64addeb006c13a0");
}

TEST(generator, never_repeats) {
  std::set<std::string> seen;
  for (size_t size : {8, 16, 32, 33, 64, 96, 97, 1000, 5000})
    for (int i = 0; i < 50; ++i) {
      std::string bytes(size, '\0');
      random::fill(bytes.data(), size);
      // Every 8-byte word in all that was ever given out is another one.
      for (size_t at = 0; at + 8 <= size; at += 8)
        ASSERT_TRUE(seen.insert(bytes.substr(at, 8)).second);
    }
}

TEST(generator, writes_what_it_is_asked_for) {
  for (size_t size = 0; size < 300; ++size) {
    std::vector<uint8_t> bytes(size + 2, 0xee);
    random::fill(bytes.data() + 1, size);
    EXPECT_EQ(bytes[0], 0xee);
    EXPECT_EQ(bytes[size + 1], 0xee);
    if (size >= 64) {
      // The end was written too: 16 equal bytes there are no accident.
      EXPECT_NE(std::string(bytes.end() - 17, bytes.end() - 1), std::string(16, '\xee'));
    }
  }
}

TEST(generator, bits_are_even) {
  std::vector<uint8_t> bytes(100'000);
  random::fill(bytes.data(), bytes.size());
  size_t ones = 0;
  for (uint8_t b : bytes)
    ones += static_cast<size_t>(__builtin_popcount(b));
  EXPECT_NEAR(static_cast<double>(ones), 400'000, 2000); // 4.5 standard deviations
}

TEST(generator, entropy_changes_what_follows) {
  uint8_t a[32], b[32];
  random::fill(a, sizeof a);
  const char more[] = "more";
  random::add_entropy(more, sizeof more);
  random::fill(b, sizeof b);
  EXPECT_NE(memcmp(a, b, sizeof a), 0);
}

} // namespace
