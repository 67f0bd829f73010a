// sources: libc/string/memcpy.c libc/string/memmove.c libc/string/memset.c libc/string/memcmp.c
// sources: libc/string/memchr.c libc/string/memrchr.c libc/string/strlen.c
// sources: libc/string/strchrnul.c libc/string/strcmp.c
// The application's string functions against the host's, at every alignment, next to pages that
// are not there.
#include <cstring>
#include <gtest/gtest.h>
#include <random>
#include <sys/mman.h>

extern "C" {
void* oblako_memcpy(void*, const void*, size_t);
void* oblako_memmove(void*, const void*, size_t);
void* oblako_memset(void*, int, size_t);
int oblako_memcmp(const void*, const void*, size_t);
void* oblako_memchr(const void*, int, size_t);
void* oblako_memrchr(const void*, int, size_t);
size_t oblako_strlen(const char*);
char* oblako_strchrnul(const char*, int);
int oblako_strcmp(const char*, const char*);
}

namespace {

constexpr size_t page = 4096;

// Two readable pages with unreadable ones on both sides.
class fenced {
public:
  fenced() {
    auto* p =
        static_cast<char*>(mmap(nullptr, 4 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    start = p + page;
    end = start + 2 * page;
    mprotect(start, 2 * page, PROT_READ | PROT_WRITE);
  }
  ~fenced() { munmap(start - page, 4 * page); }
  void scramble(unsigned seed) {
    std::mt19937 random(seed);
    for (char* p = start; p < end; ++p)
      *p = static_cast<char>(1 + random() % 255);
  }
  char *start, *end;
};

int sign(int x) {
  return (x > 0) - (x < 0);
}

constexpr size_t lengths[] = {0,   1,   2,   3,   4,   5,   7,   8,   9,    12,  15,  16,
                              17,  18,  31,  32,  33,  47,  48,  49,  63,   64,  65,  66,
                              79,  80,  81,  95,  96,  127, 128, 129, 130,  191, 192, 193,
                              255, 256, 257, 300, 511, 512, 513, 600, 1000, 3000};

TEST(app_string, copies) {
  fenced a, b, c;
  for (size_t n : lengths)
    for (size_t offset : {0, 1, 5, 8, 15}) {
      a.scramble(static_cast<unsigned>(n));
      b.scramble(7);
      memcpy(c.start, b.start, 2 * page);
      // Ending at the last byte of the source, beginning somewhere in the target; and the reverse.
      EXPECT_EQ(oblako_memcpy(b.start + offset, a.end - n, n), b.start + offset);
      memcpy(c.start + offset, a.end - n, n);
      ASSERT_EQ(memcmp(b.start, c.start, 2 * page), 0) << n;
      oblako_memcpy(b.end - n, a.start + offset, n);
      memcpy(c.end - n, a.start + offset, n);
      ASSERT_EQ(memcmp(b.start, c.start, 2 * page), 0) << n;
    }
}

TEST(app_string, moves_with_every_overlap) {
  fenced a, b;
  for (size_t n : lengths) {
    if (n > 600)
      continue;
    for (size_t distance = 0; distance <= n + 1; distance += 1 + n / 40)
      for (int direction : {-1, 1}) {
        a.scramble(static_cast<unsigned>(n + distance));
        memcpy(b.start, a.start, 2 * page);
        char* from = a.start + page;
        char* to = from + direction * static_cast<ptrdiff_t>(distance);
        EXPECT_EQ(oblako_memmove(to, from, n), to);
        memmove(b.start + (to - a.start), b.start + page, n);
        ASSERT_EQ(memcmp(a.start, b.start, 2 * page), 0)
            << n << " by " << direction * (long)distance;
      }
  }
}

TEST(app_string, sets) {
  fenced a, b;
  for (size_t n : lengths)
    for (size_t offset : {0, 1, 9}) {
      a.scramble(3);
      memcpy(b.start, a.start, 2 * page);
      EXPECT_EQ(oblako_memset(a.start + offset, 0x1a7, n), a.start + offset);
      memset(b.start + offset, 0x1a7, n);
      oblako_memset(a.end - n, 0, n);
      memset(b.end - n, 0, n);
      ASSERT_EQ(memcmp(a.start, b.start, 2 * page), 0) << n;
    }
}

TEST(app_string, compares) {
  fenced a, b;
  for (size_t n : lengths)
    for (size_t at = 0; at < n; at += 1 + n / 50)
      for (int change : {1, -1, 100}) {
        a.scramble(static_cast<unsigned>(n));
        memcpy(b.end - n, a.end - n, n);
        EXPECT_EQ(oblako_memcmp(a.end - n, b.end - n, n), 0);
        b.end[-static_cast<ptrdiff_t>(n) + static_cast<ptrdiff_t>(at)] += static_cast<char>(change);
        ASSERT_EQ(sign(oblako_memcmp(a.end - n, b.end - n, n)),
                  sign(memcmp(a.end - n, b.end - n, n)));
        ASSERT_EQ(oblako_memcmp(a.end - n, b.end - n, at), 0);
      }
}

TEST(app_string, finds_bytes) {
  fenced a;
  a.scramble(5);
  for (char* p = a.start; p < a.end; ++p)
    if (*p == 'x')
      *p = 'y';
  for (size_t n : lengths)
    for (size_t offset = 0; offset < 17; ++offset) {
      char* s = a.end - n - offset;
      EXPECT_EQ(oblako_memchr(s, 'x', n), nullptr);
      EXPECT_EQ(oblako_memrchr(s, 'x', n), nullptr);
      for (size_t at = 0; at < n; at += 1 + n / 30) {
        const char old = s[at], before = s[-1];
        s[at] = s[-1] = 'x';
        if (offset)
          s[n] = 'x';
        ASSERT_EQ(oblako_memchr(s, 'x', n), s + at);
        ASSERT_EQ(oblako_memchr(s, 0x100 | 'x', SIZE_MAX), s + at);
        ASSERT_EQ(oblako_memrchr(s, 'x', n), s + at);
        if (offset)
          s[n] = 'y';
        s[at] = old;
        s[-1] = before;
      }
    }
  EXPECT_EQ(oblako_memchr(a.start, 'x', 2 * page), nullptr);
  EXPECT_EQ(oblako_memrchr(a.start, 'x', 2 * page), nullptr);
  EXPECT_EQ(oblako_memchr(nullptr, 0, 0), nullptr);
}

TEST(app_string, strings) {
  fenced a, b;
  for (size_t n : lengths)
    for (size_t offset = 0; offset < 17; ++offset) {
      a.scramble(static_cast<unsigned>(n));
      char* s = a.end - n - 1 - offset;
      for (size_t i = 0; i < n; ++i)
        if (s[i] == 'x')
          s[i] = 'y';
      s[n] = 0;
      EXPECT_EQ(oblako_strlen(s), n);
      EXPECT_EQ(oblako_strchrnul(s, 'x'), s + n);
      EXPECT_EQ(oblako_strchrnul(s, 0), s + n);
      if (n) {
        s[n / 2] = 'x';
        s[-1] = 'x';
        EXPECT_EQ(oblako_strchrnul(s, 'x'), s + n / 2);
        EXPECT_EQ(oblako_strchrnul(s, 0x200 | 'x'), s + n / 2);
      }
      for (size_t other : {0, 3, 16}) {
        char* t = b.end - n - 1 - other;
        memcpy(t, s, n + 1);
        ASSERT_EQ(oblako_strcmp(s, t), 0);
        for (size_t at = 0; at < n; at += 1 + n / 10) {
          const char old = t[at];
          for (char c : {'\0', '\x01', '\x7f', '\x80', '\xff'}) {
            t[at] = c;
            ASSERT_EQ(sign(oblako_strcmp(s, t)), sign(strcmp(s, t)));
            ASSERT_EQ(sign(oblako_strcmp(t, s)), sign(strcmp(t, s)));
          }
          t[at] = old;
        }
      }
    }
}

} // namespace
