// strcmp by blocks of 16 bytes where neither string's block crosses a page.
#include "libc/string/sse.h"

static inline int page_is_near(const void* p) { return (uintptr_t)p % 4096 > 4096 - block_size; }

READS_AROUND static inline block load_around(const unsigned char* p) { return load(p); }

READS_AROUND int strcmp(const char* left, const char* right) {
  const unsigned char *a = (const unsigned char*)left, *b = (const unsigned char*)right;
  const block zero = _mm_setzero_si128();
  for (;;) {
    if (page_is_near(a) || page_is_near(b)) {
      for (int i = 0; i < block_size; ++i, ++a, ++b)
        if (*a != *b || !*a)
          return *a - *b;
      continue;
    }
    const block x = load_around(a), y = load_around(b);
    const unsigned differ = ~(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(x, y)) & 0xffff;
    const unsigned stop = differ | (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(x, zero));
    if (stop) {
      const unsigned at = (unsigned)__builtin_ctz(stop);
      return a[at] - b[at];
    }
    a += block_size;
    b += block_size;
  }
}
