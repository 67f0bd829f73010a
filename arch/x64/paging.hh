// Page tables of the one address space. The caller (core/mem) decides what is mapped where; this
// file knows the format (Intel SDM vol. 3, 4.5).
#pragma once

#include "core/base/result.hh"
#include "core/base/types.hh"
#include <stdint.h>

namespace oblako::arch {

enum page_flags : uint64_t {
  page_present = 1u << 0,
  page_writable = 1u << 1,
  page_uncached = (1u << 3) | (1u << 4),
  page_accessed = 1u << 5,
  page_dirty = 1u << 6,
  page_large = 1u << 7,
  page_global = 1u << 8,
  page_no_execute = 1ull << 63,
};

// Context: the caller holds core/mem's lock. Table pages come from allocate_frames.
// map_page: one 4 kB page; replaces nothing (the slot must be empty). map_large: one 2 MB page.
result<void> map_page(uintptr_t va, phys_addr pa, uint64_t flags);
result<void> map_large_page(uintptr_t va, phys_addr pa, uint64_t flags);

struct mapping {
  phys_addr frame;
  uint64_t flags; // 0: not mapped
  bool large;
};
mapping lookup(uintptr_t va);

// Takes out [start, end), flushing the TLB; calls release for every frame (order 0 or 9) that was
// mapped. Splits a large page that is only partly covered (errors: nomem, nothing changed then).
// Table pages that become empty are freed.
result<void> unmap_range(uintptr_t start, uintptr_t end, void (*release)(phys_addr, unsigned order));
// Rewrites permission bits of what is mapped in the range; splits large pages at its ends.
result<void> protect_range(uintptr_t start, uintptr_t end, uint64_t flags);
// Moves present entries from one range to an equally long empty one (mremap).
result<void> move_range(uintptr_t from, uintptr_t to, size_t bytes);

} // namespace oblako::arch
