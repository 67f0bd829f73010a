// strchrnul by aligned blocks; musl's strchr, strcspn and printf stand on it.
#include "libc/string/sse.h"

READS_AROUND HIDDEN_IN_LIBC char* __strchrnul(const char* s, int c) {
  const unsigned char* at = block_of(s);
  const block zero = _mm_setzero_si128(), wanted = _mm_set1_epi8((char)c);
  unsigned found = matches(at, zero) | matches(at, wanted);
  found = found >> offset_in_block(s) << offset_in_block(s);
  while (!found) {
    at += block_size;
    found = matches(at, zero) | matches(at, wanted);
  }
  return (char*)at + __builtin_ctz(found);
}

char* strchrnul(const char*, int) __attribute__((weak, alias(TEXT_OF(__strchrnul))));
