// What memcpy and memmove share.
#pragma once

#include "libc/string/sse.h"

// The next two load all before they store: right for overlapping memory too.
static inline void copy_up_to_16(unsigned char* to, const unsigned char* from, size_t n) {
  if (n >= 8) {
    const uint64_t a = *(const word64*)from, b = *(const word64*)(from + n - 8);
    *(word64*)to = a;
    *(word64*)(to + n - 8) = b;
  } else if (n >= 4) {
    const uint32_t a = *(const word32*)from, b = *(const word32*)(from + n - 4);
    *(word32*)to = a;
    *(word32*)(to + n - 4) = b;
  } else if (n) {
    const unsigned char a = from[0], b = from[n / 2], c = from[n - 1];
    to[0] = a;
    to[n / 2] = b;
    to[n - 1] = c;
  }
}

static inline void copy_17_to_64(unsigned char* to, const unsigned char* from, size_t n) {
  const block first = load(from), last = load(from + n - 16);
  if (n > 32) {
    const block second = load(from + 16), third = load(from + n - 32);
    store(to + 16, second);
    store(to + n - 32, third);
  }
  store(to, first);
  store(to + n - 16, last);
}

// At least 8 bytes. String moves by words are as fast as by bytes on CPUs with ERMS, and faster on
// all others, emulated ones too.
static inline void copy_long_forwards(unsigned char* to, const unsigned char* from, size_t n) {
  const uint64_t last = *(const word64*)(from + n - 8);
  unsigned char* const tail = to + n - 8;
  size_t words = n / 8;
  __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
  *(word64*)tail = last;
}
