// Allocations aligned to 2 MB and more. Rare: a list of them will do.
#include "libc/malloc/internal.hh"
#include <stdlib.h>
#include <sys/mman.h>

namespace oblako::allocator {

namespace {

struct entry {
  entry* next;
  void* data;
  size_t bytes; // of the mapping, which begins at `data`
};
entry* entries; // under the lock

} // namespace

void* allocate_far_aligned(size_t bytes, size_t alignment) {
  const size_t size = align_up(bytes ? bytes : 1, page_size);
  if (size < bytes || size + alignment < size)
    return nullptr;
  auto* e = static_cast<entry*>(malloc(sizeof(entry)));
  if (!e)
    return nullptr;
  void* p =
      mmap(nullptr, size + alignment, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) {
    free(e);
    return nullptr;
  }
  const auto start = reinterpret_cast<uintptr_t>(p);
  const uintptr_t at = align_up(start, alignment);
  if (at != start)
    munmap(p, at - start);
  if (at + size != start + size + alignment)
    munmap(reinterpret_cast<void*>(at + size), start + alignment - at);
  guard g;
  *e = {entries, reinterpret_cast<void*>(at), size};
  entries = e;
  return e->data;
}

bool release_far_aligned(void* data) {
  entry* found = nullptr;
  {
    guard g;
    for (entry** e = &entries; *e; e = &(*e)->next)
      if ((*e)->data == data) {
        found = *e;
        *e = found->next;
        break;
      }
  }
  if (!found)
    return false;
  munmap(data, found->bytes);
  free(found);
  return true;
}

size_t far_aligned_capacity(const void* data) {
  guard g;
  for (const entry* e = entries; e; e = e->next)
    if (e->data == data)
      return e->bytes;
  return 0;
}

} // namespace oblako::allocator
