/* What lwIP needs to know of the compiler and the machine. Its own types come from <stdint.h>;
 * assertions and diagnostics go to the kernel's log through core/net/port.cc. */
#ifndef OBLAKO_LWIP_CC_H
#define OBLAKO_LWIP_CC_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifndef SSIZE_MAX /* or lwIP makes a ssize_t of its own */
#define SSIZE_MAX LONG_MAX
#endif

#define LWIP_NO_INTTYPES_H 1
#define LWIP_NO_LIMITS_H 1
#define LWIP_NO_UNISTD_H 1
#define LWIP_NO_CTYPE_H 1

#define X8_F "02x"
#define U16_F "u"
#define S16_F "d"
#define X16_F "x"
#define U32_F "u"
#define S32_F "d"
#define X32_F "x"
#define SZT_F "zu"

/* Byte order: x86-64 only, one instruction each. */
#ifndef BYTE_ORDER
#define BYTE_ORDER LITTLE_ENDIAN
#endif
#define lwip_htons(x) __builtin_bswap16(x)
#define lwip_htonl(x) __builtin_bswap32(x)

#ifdef __cplusplus
extern "C" {
#endif
/* An lwIP assertion failed: an invariant of the stack, so it ends in a panic. */
void oblako_lwip_assert(const char *message, const char *file, int line) __attribute__((noreturn));
uint32_t oblako_lwip_random(void);
void *oblako_lwip_allocate(size_t bytes);
void *oblako_lwip_allocate_zeroed(size_t count, size_t bytes);
void oblako_lwip_release(void *memory);
#ifdef __cplusplus
}
#endif

#define LWIP_PLATFORM_DIAG(x) do { } while (0)
#define LWIP_PLATFORM_ASSERT(x) oblako_lwip_assert(x, __FILE_NAME__, __LINE__)
#define LWIP_RAND() oblako_lwip_random()

#define mem_clib_malloc oblako_lwip_allocate
#define mem_clib_calloc oblako_lwip_allocate_zeroed
#define mem_clib_free oblako_lwip_release

#endif
