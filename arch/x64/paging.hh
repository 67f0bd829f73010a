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

// An entry without page_present keeps its frame: that is how a page under PROT_NONE is held.
//
// Context: the caller holds core/mem's lock for the half of the address space. Table pages come
// from allocate_frames.
// map_page: one 4 kB page. map_large_page: one 2 MB page. Errors: exist (something is mapped there
// already), nomem.
result<void> map_page(uintptr_t va, phys_addr pa, uint64_t flags);
result<void> map_large_page(uintptr_t va, phys_addr pa, uint64_t flags);
// Several 4 kB pages in a row, all within the same 2 MB; stops at the first that is mapped already.
// Returns how many it mapped. Errors: nomem.
result<unsigned> map_pages(uintptr_t va, const phys_addr* frames, unsigned count, uint64_t flags);
// True if nothing is mapped in the 2 MB that start at va.
bool large_slot_free(uintptr_t va);

// What is mapped at an address: the start of the page (of the 2 MB page if `large`).
struct mapping {
  phys_addr frame;
  uint64_t flags; // 0: not mapped
  bool large;
};
mapping lookup(uintptr_t va);

// Takes out [start, end), flushing the TLB; calls release for every frame (order 0 or 9) that was
// mapped. Splits a large page that is only partly covered (errors: nomem, nothing changed then).
// Table pages that become empty are freed.
result<void> unmap_range(uintptr_t start, uintptr_t end,
                         void (*release)(phys_addr, unsigned order));
// Sets page_present, page_writable and page_no_execute of what is mapped in the range as in
// `flags`; splits large pages at its ends (errors: nomem, nothing changed then).
result<void> protect_range(uintptr_t start, uintptr_t end, uint64_t flags);
// Moves entries from one range to an equally long empty one (mremap). Large pages stay large if
// the ranges have the same offset within 2 MB. Errors: nomem, nothing changed then.
result<void> move_range(uintptr_t from, uintptr_t to, size_t bytes);

// Makes one piece of memory within a 2 MB block, which is about to be handed to the frame
// allocator, reachable in the direct map: by a 1 GB page where the CPU has them, by a 2 MB page
// otherwise, by 4 kB pages beside the image, where it may shorten the piece to what it mapped.
// Tables that are missing are taken from the front of the piece itself; returns how many pages that
// took (0 to 2), or nomem if the piece is too small for them.
result<unsigned> map_new_memory(phys_addr start, uint64_t& bytes);

} // namespace oblako::arch
