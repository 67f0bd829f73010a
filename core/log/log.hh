// The kernel's log: printf-style lines into a ring in memory and onto the console. Never allocates,
// never blocks; safe in any context. panic() is for broken invariants of ours, nothing else.
#pragma once

#include <stdarg.h>
#include <stddef.h>

namespace oblako::log {

// One line each; a newline is added. Formats: %d %u %x %lx %lu %ld %zu %p %s %c %%, width and 0
// flag. Context: any.
void info(const char* format, ...) __attribute__((format(printf, 1, 2)));
void warning(const char* format, ...) __attribute__((format(printf, 1, 2)));
void error(const char* format, ...) __attribute__((format(printf, 1, 2)));

// Formats into a buffer like snprintf (same formats as above); returns the length it would have
// had.
size_t format(char* buffer, size_t size, const char* format, ...)
    __attribute__((format(printf, 3, 4)));
size_t vformat(char* buffer, size_t size, const char* format, va_list arguments);

// Prints the message, registers, a backtrace and the log's last lines, and ends the VM with a
// failure status. Only for invariants of the kernel: never for device data, packets, files, or
// what the application passed in.
[[noreturn]] void panic(const char* format, ...) __attribute__((format(printf, 1, 2)));

} // namespace oblako::log

#define OBLAKO_ASSERT(condition)                                                                   \
  do {                                                                                             \
    if (!(condition)) [[unlikely]]                                                                 \
      ::oblako::log::panic("assertion failed: %s at %s:%d", #condition, __FILE__, __LINE__);       \
  } while (0)
