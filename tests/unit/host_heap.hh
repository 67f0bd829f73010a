// The kernel's heap from the host's, for tests of tables that need nothing else of a kernel: ASan
// sees every record, what is held can be counted, and allocations can be made to fail. More of a
// kernel has fake_kernel.hh. Included by one file of a program.
#pragma once

#include "core/mem/heap.hh"

#include <cstdlib>
#include <set>

namespace test {

inline int allocations_left = -1; // -1: any number
// A table of the kernel is never freed: it stays in this set, which is never destroyed.
inline auto& live = *new std::set<void*>;

inline void* host_allocate(size_t bytes) {
  if (allocations_left == 0)
    return nullptr;
  if (allocations_left > 0)
    --allocations_left;
  return *live.insert(calloc(1, bytes)).first;
}

} // namespace test

namespace oblako::mem {

void* allocate(size_t bytes) {
  return test::host_allocate(bytes);
}
void* allocate_zeroed(size_t bytes) {
  return test::host_allocate(bytes);
}
void* allocate_buffer(size_t bytes) {
  return test::host_allocate(bytes);
}
void* allocate_buffer_zeroed(size_t bytes) {
  return test::host_allocate(bytes);
}
void release_sized(void* memory, size_t) {
  test::live.erase(memory);
  free(memory);
}

} // namespace oblako::mem
