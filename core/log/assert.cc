// assert() inside the libraries the kernel is built with (Boost.Intrusive, lwIP). Renamed to
// kernel_assert_fail in the archive.
#include "core/log/log.hh"

extern "C" [[noreturn]] void __assert_fail(const char* expression, const char* file, int line,
                                           const char* function) {
  oblako::log::panic("assertion failed: %s at %s:%d (%s)", expression, file, line, function);
}
