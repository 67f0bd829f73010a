// Allocations above half a megabyte: a mapping each, a page of header in front. Growing moves page
// tables, not bytes.
#include "libc/malloc/internal.hh"
#include <sys/mman.h>

namespace oblako::allocator {

void* allocate_mapping(size_t bytes, size_t alignment) {
  // The data must begin in the header's own 2 MB.
  const size_t offset = alignment < page_size ? page_size : alignment;
  const size_t total = align_up(bytes, page_size) + offset;
  if (total < bytes || offset >= region_size)
    return nullptr;
  auto* header = static_cast<region*>(map_aligned(total));
  if (!header)
    return nullptr;
  header->mapped_bytes = total;
  header->data_offset = offset;
  header->kind[offset / page_size] = kind_mapping;
  return reinterpret_cast<char*>(header) + offset;
}

void release_mapping(region* header) {
  munmap(header, header->mapped_bytes);
}

size_t mapping_capacity(const region* header) {
  return header->mapped_bytes - header->data_offset;
}

void* resize_mapping(region* header, size_t bytes) {
  const size_t total = align_up(bytes, page_size) + header->data_offset;
  if (total < bytes)
    return nullptr;
  void* moved = header;
  if (total != header->mapped_bytes) {
    moved = mremap(header, header->mapped_bytes, total, 0);
    if (moved == MAP_FAILED) {
      // Not where it lies: to an aligned place.
      void* place = map_aligned(total);
      if (!place)
        return nullptr;
      moved = mremap(header, header->mapped_bytes, total, MREMAP_MAYMOVE | MREMAP_FIXED, place);
      if (moved == MAP_FAILED) {
        munmap(place, total);
        return nullptr;
      }
    }
  }
  auto* now = static_cast<region*>(moved);
  now->mapped_bytes = total;
  return reinterpret_cast<char*>(now) + now->data_offset;
}

} // namespace oblako::allocator
