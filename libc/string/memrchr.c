// memrchr by aligned blocks, from the end.
#include "libc/string/sse.h"

READS_AROUND HIDDEN_IN_LIBC void* __memrchr(const void* start, int byte, size_t n) {
  if (!n)
    return NULL;
  const unsigned char* const first = start;
  const unsigned char* last = first + n - 1;
  const unsigned char* at = block_of(last);
  const block wanted = _mm_set1_epi8((char)byte);
  // Matches behind the last byte are masked out.
  unsigned found = matches(at, wanted) & (0xffffu >> (block_size - 1 - offset_in_block(last)));
  while (!found) {
    if (at <= first)
      return NULL;
    at -= block_size;
    found = matches(at, wanted);
  }
  const unsigned char* where = at + (31 - __builtin_clz(found));
  return where >= first ? (void*)where : NULL;
}

void* memrchr(const void*, int, size_t) __attribute__((weak, alias(TEXT_OF(__memrchr))));
