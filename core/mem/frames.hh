// Physical page frames. Free memory starts as a few extents and metadata comes into being when a
// 2 MB block is first used, so that boot does not grow with RAM.
#pragma once

#include "core/base/result.hh"
#include "core/base/types.hh"

namespace oblako::mem {

// All of usable RAM is reachable here: virtual = direct_map_base + physical.
#ifdef OBLAKO_HOST_TEST
inline uintptr_t direct_map_base = 0; // unit tests put their arena here
#else
constexpr uintptr_t direct_map_base = 0xffff800000000000;
#endif
inline void* to_virtual(phys_addr a) {
  return reinterpret_cast<void*>(direct_map_base + raw(a));
}
// Only for addresses inside the direct map (frames, kernel heap memory).
inline phys_addr to_physical(const void* direct) {
  return phys_addr{reinterpret_cast<uintptr_t>(direct) - direct_map_base};
}

// Tells the allocator of a range of free RAM. Boot only. Start and length need not be aligned.
void add_free_extent(phys_addr start, uint64_t length);

enum class zeroed : bool { no, yes };

// 2^order contiguous pages, aligned to their size; order 0 to 9 (4 kB to 2 MB).
// Errors: nomem. Context: any thread, interrupts may be off; never blocks.
result<phys_addr> allocate_frames(unsigned order, zeroed zero = zeroed::no);
void free_frames(phys_addr start, unsigned order);

// A physically contiguous range of `pages` (any number up to 4096 pages = 16 MB; for rings and the
// like). Errors: nomem.
result<phys_addr> allocate_contiguous(size_t pages, zeroed zero = zeroed::no);
void free_contiguous(phys_addr start, size_t pages);

// Single zeroed pages, up to `count` at once, into `out`; returns how many there were.
unsigned allocate_pages(phys_addr* out, unsigned count);

struct frame_statistics {
  uint64_t total_bytes;
  uint64_t free_bytes;
};
frame_statistics frame_usage();

// Counted under the allocator's lock; read without it these are hints.
struct frame_counters {
  uint64_t total, free; // pages
  uint64_t reserve;     // pages kept for the kernel
};
extern frame_counters frame_counts;

// True if at least `bytes` and an eighth of all memory are free: whether to spend memory for speed.
inline bool memory_is_plentiful(uint64_t bytes) {
  const uint64_t free = __atomic_load_n(&frame_counts.free, __ATOMIC_RELAXED); // a hint
  return free >= bytes / page_size && free * 8 >= frame_counts.total;
}

// False if what is left is the kernel's reserve: the application's pages stop there, so that the
// kernel can still receive, close and report.
inline bool application_may_take_a_page() {
  return __atomic_load_n(&frame_counts.free, __ATOMIC_RELAXED) > frame_counts.reserve; // a hint
}

} // namespace oblako::mem
