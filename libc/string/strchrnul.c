/* Replaces musl's src/string/strchrnul.c, on which strchr() rests: 16 bytes at a time. An aligned
 * load never crosses into a page that the string does not touch. */
#define _GNU_SOURCE
#include <emmintrin.h>
#include <stdint.h>
#include <string.h>

char *__strchrnul(const char *s, int c)
{
	const unsigned misaligned = (uintptr_t)s & 15;
	const __m128i *block = (const __m128i *)((uintptr_t)s - misaligned);
	const __m128i wanted = _mm_set1_epi8((char)c), zero = _mm_setzero_si128();
	__m128i bytes = _mm_load_si128(block);
	unsigned hits = (unsigned)_mm_movemask_epi8(
		_mm_or_si128(_mm_cmpeq_epi8(bytes, wanted), _mm_cmpeq_epi8(bytes, zero)));
	hits &= ~0u << misaligned;
	while (!hits) {
		bytes = _mm_load_si128(++block);
		hits = (unsigned)_mm_movemask_epi8(
			_mm_or_si128(_mm_cmpeq_epi8(bytes, wanted), _mm_cmpeq_epi8(bytes, zero)));
	}
	return (char *)block + __builtin_ctz(hits);
}

char *strchrnul(const char *, int) __attribute__((weak, alias("__strchrnul")));
