// memchr by aligned blocks.
#include "libc/string/sse.h"

READS_AROUND void* memchr(const void* start, int byte, size_t n) {
  if (!n)
    return NULL;
  const unsigned char* p = start;
  const unsigned char* at = block_of(p);
  const block wanted = _mm_set1_epi8((char)byte);
  // Matches before the start are shifted out.
  unsigned found = matches(at, wanted) >> offset_in_block(p) << offset_in_block(p);
  // Distances, not end pointers: n may reach past the end of the address space.
  size_t left = n + offset_in_block(p) < n ? SIZE_MAX : n + offset_in_block(p);
  while (!found) {
    if (left <= block_size)
      return NULL;
    left -= block_size;
    at += block_size;
    found = matches(at, wanted);
  }
  const unsigned where = (unsigned)__builtin_ctz(found);
  return where < left ? (void*)(at + where) : NULL;
}
