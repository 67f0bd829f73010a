// sources: core/mem/string.cc
// The kernel's memcpy family against the host's.
#include <gtest/gtest.h>
#include <random>
#include <string.h>

extern "C" {
void* kernel_memcpy(void*, const void*, size_t);
void* kernel_memmove(void*, const void*, size_t);
void* kernel_memset(void*, int, size_t);
int kernel_memcmp(const void*, const void*, size_t);
size_t kernel_strlen(const char*);
}

namespace {

struct buffers {
  unsigned char mine[700], theirs[700];
  explicit buffers(unsigned seed) {
    std::mt19937 random(seed);
    for (size_t i = 0; i < sizeof mine; ++i)
      mine[i] = theirs[i] = static_cast<unsigned char>(random());
  }
  bool same() const { return memcmp(mine, theirs, sizeof mine) == 0; }
};

int sign(int x) {
  return (x > 0) - (x < 0);
}

TEST(kernel_string, copies_and_moves_with_every_overlap) {
  for (size_t n = 0; n <= 140; ++n)
    for (size_t from = 150; from <= 150 + 2 * n + 2; from += 1 + n / 16) {
      buffers b(static_cast<unsigned>(n));
      kernel_memmove(b.mine + 150 + n, b.mine + from, n);
      memmove(b.theirs + 150 + n, b.theirs + from, n);
      ASSERT_TRUE(b.same()) << n << " from " << from;
    }
  for (size_t n = 0; n <= 140; ++n) {
    buffers b(static_cast<unsigned>(n));
    EXPECT_EQ(kernel_memcpy(b.mine + 300, b.mine + 5, n), b.mine + 300);
    memcpy(b.theirs + 300, b.theirs + 5, n);
    ASSERT_TRUE(b.same()) << n;
  }
}

TEST(kernel_string, sets) {
  for (size_t n = 0; n <= 140; ++n) {
    buffers b(static_cast<unsigned>(n));
    EXPECT_EQ(kernel_memset(b.mine + 9, 0x1a5, n), b.mine + 9);
    memset(b.theirs + 9, 0x1a5, n);
    ASSERT_TRUE(b.same()) << n;
  }
}

TEST(kernel_string, compares) {
  for (size_t n = 0; n <= 40; ++n)
    for (size_t at = 0; at < n; ++at)
      for (int change : {1, -1, 128}) {
        buffers b(static_cast<unsigned>(n));
        b.theirs[at] = static_cast<unsigned char>(b.theirs[at] + change);
        EXPECT_EQ(sign(kernel_memcmp(b.mine, b.theirs, n)), sign(memcmp(b.mine, b.theirs, n)));
        EXPECT_EQ(kernel_memcmp(b.mine, b.theirs, at), 0);
      }
}

TEST(kernel_string, measures) {
  char s[40] = {};
  for (size_t n = 0; n < sizeof s; ++n) {
    EXPECT_EQ(kernel_strlen(s), n);
    s[n] = 'x';
    if (n + 1 < sizeof s)
      s[n + 1] = 0;
    else
      break;
  }
}

} // namespace
