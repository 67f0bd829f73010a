// memset: stores that overlap for small sizes, `rep stosq` for large ones: by words it is fast on CPUs
// without ERMS too.
#include "libc/string/sse.h"

enum { rep_from = 512 };

void* memset(void* target, int byte, size_t n) {
  unsigned char* to = target;
  const uint64_t words = (unsigned char)byte * 0x0101010101010101u;
  if (n < 16) {
    if (n >= 8) {
      *(word64*)to = words;
      *(word64*)(to + n - 8) = words;
    } else if (n >= 4) {
      *(word32*)to = (uint32_t)words;
      *(word32*)(to + n - 4) = (uint32_t)words;
    } else if (n) {
      to[0] = to[n / 2] = to[n - 1] = (unsigned char)byte;
    }
  } else if (n < rep_from) {
    const block all = _mm_set1_epi8((char)byte);
    unsigned char* const end = to + n;
    for (; to < end - 16; to += 16)
      store(to, all);
    store(end - 16, all);
  } else {
    *(word64*)(to + n - 8) = words;
    n /= 8;
    __asm__ volatile("rep stosq" : "+D"(to), "+c"(n) : "a"(words) : "memory");
  }
  return target;
}
