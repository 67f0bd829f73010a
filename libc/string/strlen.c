// strlen by aligned blocks.
#include "libc/string/sse.h"

READS_AROUND size_t strlen(const char* s) {
  const unsigned char* at = block_of(s);
  const block zero = _mm_setzero_si128();
  unsigned found = matches(at, zero) >> offset_in_block(s);
  if (found)
    return (size_t)__builtin_ctz(found);
  do {
    at += block_size;
    found = matches(at, zero);
  } while (!found);
  return (size_t)(at - (const unsigned char*)s) + (size_t)__builtin_ctz(found);
}
