// What the string functions share: SSE2 is part of x86-64. Reading whole aligned blocks never
// crosses a page, so bytes around a string may be read (not around an array's end, unless aligned).
#pragma once

#include <emmintrin.h>
#include <stddef.h>
#include <stdint.h>

// A loop that copies must not become a call to memcpy here.
#pragma GCC optimize("no-tree-loop-distribute-patterns")

#ifdef OBLAKO_HOST_TEST
// Unit tests run them beside the host's.
#define memcpy oblako_memcpy
#define memmove oblako_memmove
#define memset oblako_memset
#define memcmp oblako_memcmp
#define memchr oblako_memchr
#define __memrchr oblako_memrchr
#define memrchr oblako_memrchr_alias
#define strlen oblako_strlen
#define __strchrnul oblako_strchrnul
#define strchrnul oblako_strchrnul_alias
#define strcmp oblako_strcmp
#define __memcpy_fwd_alias_1 oblako_memcpy_alias
#endif

#define READS_AROUND __attribute__((no_sanitize("address")))
#define QUOTED(name) #name
#define TEXT_OF(name) QUOTED(name)
#define SAME_AS(name) __attribute__((alias(TEXT_OF(name)), copy(name)))
#define HIDDEN_IN_LIBC __attribute__((visibility("hidden")))

typedef __m128i block;
enum { block_size = 16 };

static inline block load(const void* p) { return _mm_loadu_si128((const block*)p); }
static inline void store(void* p, block b) { _mm_storeu_si128((block*)p, b); }

typedef uint64_t __attribute__((aligned(1), may_alias)) word64;
typedef uint32_t __attribute__((aligned(1), may_alias)) word32;
typedef uint16_t __attribute__((aligned(1), may_alias)) word16;

// One bit for each byte of the aligned block at p that equals the byte in all of `wanted`.
static inline READS_AROUND unsigned matches(const void* p, block wanted) {
  return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_load_si128((const block*)p), wanted));
}

static inline const unsigned char* block_of(const void* p) {
  return (const unsigned char*)((uintptr_t)p & ~(uintptr_t)(block_size - 1));
}
static inline unsigned offset_in_block(const void* p) { return (uintptr_t)p % block_size; }
