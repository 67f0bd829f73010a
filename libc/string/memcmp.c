// memcmp by blocks of 16 bytes.
#include "libc/string/sse.h"

int memcmp(const void* left, const void* right, size_t n) {
  const unsigned char *a = left, *b = right;
  while (n >= 16) {
    const unsigned equal = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(load(a), load(b)));
    if (equal != 0xffff) {
      const unsigned at = (unsigned)__builtin_ctz(~equal);
      return a[at] - b[at];
    }
    a += 16;
    b += 16;
    n -= 16;
  }
  if (n >= 8) {
    const uint64_t x = *(const word64*)a, y = *(const word64*)b;
    if (x != y)
      return __builtin_bswap64(x) < __builtin_bswap64(y) ? -1 : 1;
    a += 8;
    b += 8;
    n -= 8;
  }
  for (; n; ++a, ++b, --n)
    if (*a != *b)
      return *a - *b;
  return 0;
}
