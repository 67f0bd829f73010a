// memcpy: moves that overlap for small sizes, blocks of 64 bytes in the middle, and string moves,
// whose start-up takes some forty cycles, where that no longer shows.
#include "libc/string/copy.h"

enum { rep_from = 512 };

void* memcpy(void* restrict target, const void* restrict source, size_t n) {
  unsigned char* to = target;
  const unsigned char* from = source;
  if (n <= 16) {
    copy_up_to_16(to, from, n);
  } else if (n <= 64) {
    copy_17_to_64(to, from, n);
  } else if (n < rep_from) {
    const block a = load(from + n - 64), b = load(from + n - 48);
    const block c = load(from + n - 32), d = load(from + n - 16);
    unsigned char* const end = to + n;
    for (; to < end - 64; to += 64, from += 64) {
      const block e = load(from), f = load(from + 16), g = load(from + 32), h = load(from + 48);
      store(to, e);
      store(to + 16, f);
      store(to + 32, g);
      store(to + 48, h);
    }
    store(end - 64, a);
    store(end - 48, b);
    store(end - 32, c);
    store(end - 16, d);
  } else {
    copy_long_forwards(to, from, n);
  }
  return target;
}

// musl's own memmove calls memcpy by this name where it must copy forwards.
HIDDEN_IN_LIBC void* __memcpy_fwd_alias_1(void*, const void*, size_t) SAME_AS(memcpy);
