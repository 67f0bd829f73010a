// For unit tests of the memory code: a piece of host memory plays physical memory, and each test
// runs in a process of its own, because the allocators' state is global and begins at boot.
// Include from one file of a test program only.
#pragma once

#include "arch/x64/page_tables.hh"
#include "core/log/log.hh"
#include "core/mem/frames.hh"
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace oblako::log {
void panic(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
  abort();
}
} // namespace oblako::log

namespace oblako::test {

alignas(4096) inline arch::entry root_page[512];

// Physical addresses [0, bytes), nothing of it given to the frame allocator yet.
inline void make_physical_memory(uint64_t bytes) {
  void* p = mmap(nullptr, bytes + large_page_size, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED)
    abort();
  mem::direct_map_base = align_up(reinterpret_cast<uintptr_t>(p), large_page_size);
  arch::host_root = root_page;
}

// Everything the frame allocator has of that order.
inline std::vector<phys_addr> allocate_all(unsigned order) {
  std::vector<phys_addr> got;
  for (;;) {
    auto r = mem::allocate_frames(order);
    if (!r.ok())
      return got;
    got.push_back(r.value());
  }
}

} // namespace oblako::test

// A test whose body runs in a child process.
#define ISOLATED_TEST(suite, name)                                                                 \
  static void isolated_##suite##_##name();                                                         \
  TEST(suite, name) {                                                                              \
    fflush(nullptr);                                                                               \
    const pid_t child = fork();                                                                    \
    if (child == 0) {                                                                              \
      isolated_##suite##_##name();                                                                 \
      fflush(nullptr);                                                                             \
      _exit(testing::Test::HasFailure() ? 1 : 0);                                                  \
    }                                                                                              \
    int status = -1;                                                                               \
    waitpid(child, &status, 0);                                                                    \
    EXPECT_EQ(status, 0);                                                                          \
  }                                                                                                \
  static void isolated_##suite##_##name()
