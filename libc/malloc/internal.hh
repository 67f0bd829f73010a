// The application's allocator, inside. Memory comes from mmap in regions of 2 MB, aligned to their
// size, so that a pointer leads to its region's header. A region is cut into runs of pages: a run
// is a slab of equal objects or one larger allocation. Threads take and return objects through
// caches of their own; what is behind them is guarded by one lock. Larger than half a megabyte is a
// mapping by itself, which begins with a header like a region's.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef OBLAKO_HOST_TEST
// Unit tests run it beside the host's allocator, and stand between it and the system.
#include <malloc.h>
#include <stdlib.h>
#include <sys/mman.h>
#define mmap test_mmap
#define munmap test_munmap
#define madvise test_madvise
#define mremap test_mremap
#define malloc oblako_malloc
#define free oblako_free
#define calloc oblako_calloc
#define realloc oblako_realloc
#define memalign oblako_memalign
#define aligned_alloc oblako_aligned_alloc
#define posix_memalign oblako_posix_memalign
#define malloc_usable_size oblako_malloc_usable_size
extern "C" {
void* malloc(size_t);
void free(void*);
void* calloc(size_t, size_t);
void* realloc(void*, size_t);
void* memalign(size_t, size_t);
void* aligned_alloc(size_t, size_t);
int posix_memalign(void**, size_t, size_t);
size_t malloc_usable_size(void*);
void* mmap(void*, size_t, int, int, int, long);
int munmap(void*, size_t);
int madvise(void*, size_t, int);
void* mremap(void*, size_t, size_t, int, ...);
}
#endif

namespace oblako::allocator {

constexpr size_t page_size = 4096;
constexpr size_t region_size = size_t{2} << 20;
constexpr unsigned region_pages = region_size / page_size;
constexpr size_t largest_small = 8192;            // objects of slabs
constexpr size_t largest_run = size_t{512} << 10; // above: a mapping of its own

constexpr size_t align_up(size_t n, size_t alignment) {
  return (n + alignment - 1) & ~(alignment - 1);
}

// Size classes, as a table so that an image may be linked with another one (dense.cc). Class 0 is
// no class: a page that belongs to nobody.
constexpr unsigned max_classes = 40;
constexpr unsigned fine_limit = 1024; // up to here there is an entry for every size
// Kinds a page has instead of a class.
constexpr uint8_t kind_run = max_classes;         // first page of a larger allocation
constexpr uint8_t kind_mapping = max_classes + 1; // where a mapping of its own begins
constexpr unsigned bin_count = max_classes + 2;
constexpr unsigned bin_bytes = 16;
struct class_table {
  uint16_t size[bin_count]; // 0 for what is no class
  uint8_t slab_pages[max_classes];
  uint8_t cached[max_classes];                // objects a thread keeps at most
  uint16_t bin_of_fine[fine_limit + 1];       // class * bin_bytes: where malloc finds its bin
  uint8_t of_coarse[largest_small / 256 + 1]; // in steps of 256 above
  uint8_t count;                              // classes are 1 to count - 1
};
extern const class_table oblako_malloc_classes asm("oblako_malloc_classes");

// What is known of a run, kept at the index of its first page.
struct run {
  void* free;     // objects that came back, linked through their first word
  uint16_t used;  // objects outside, in threads' caches too
  uint16_t fresh; // objects from this one on were never handed out
  uint16_t pages;
  uint8_t size_class; // or kind_run
  bool listed;        // in its class's list of slabs with room
  run *next, *previous;
};

struct region {
  region *next, *previous; // regions with free pages
  size_t mapped_bytes;     // of the whole mapping
  size_t data_offset;      // kind_mapping: from the header to what the application has
  uint32_t free_pages;
  bool listed;
  uint64_t used[region_pages / 64];  // pages in runs, and the header
  uint64_t dirty[region_pages / 64]; // free pages that hold something
  uint8_t kind[region_pages];        // class or kind of every page
  uint8_t back[region_pages];        // slabs: pages back to the run's first
  run runs[region_pages];
};
constexpr unsigned header_pages = (sizeof(region) + page_size - 1) / page_size;

inline region* region_of(const void* p) {
  return reinterpret_cast<region*>(reinterpret_cast<uintptr_t>(p) & ~(region_size - 1));
}
inline size_t page_of(const void* p) {
  return (reinterpret_cast<uintptr_t>(p) / page_size) % region_pages;
}
inline void* address_of(const run* r) {
  region* g = region_of(r);
  return reinterpret_cast<char*>(g) + static_cast<size_t>(r - g->runs) * page_size;
}

// True for an address where only a region's header can be, or an allocation of far_aligned.cc.
inline bool on_region_border(const void* p) {
  return page_of(p) == 0;
}

// What the allocator does when the application gave it something it never handed out.
[[noreturn]] inline void misused() {
  __builtin_trap();
}

// Guards everything below that does not say otherwise.
class guard {
public:
  guard();
  ~guard();
  guard(const guard&) = delete;
};

// pages.cc: runs of pages. nullptr: out of memory. `zeroed` tells whether it is known to be zero.
// Alignment: a power of two, up to largest_run.
run* take_run(unsigned pages, size_t alignment, bool& zeroed);
void give_run(run* r);
// Changes the length where it lies. False: not possible. Shrinking always is.
bool resize_run(run* r, unsigned pages);
// Aligned memory from mmap: `bytes` long, on a 2 MB border. nullptr: out of memory. No lock needed.
void* map_aligned(size_t bytes);

// mappings.cc: allocations that are mappings by themselves. These take no lock.
void* allocate_mapping(size_t bytes, size_t alignment);
void release_mapping(region* header);
// nullptr: not possible; the old one stays as it is.
void* resize_mapping(region* header, size_t bytes);
size_t mapping_capacity(const region* header);

// far_aligned.cc: alignments of 2 MB and more: the data begins where a region's header would be, so
// these are found in a list. The capacity is 0 if there is no such allocation.
void* allocate_far_aligned(size_t bytes, size_t alignment);
bool release_far_aligned(void* data);
size_t far_aligned_capacity(const void* data);

// slabs.cc: moves up to `wanted` objects of a class into a list; returns how many. And back.
unsigned take_objects(unsigned size_class, unsigned wanted, void*& list);
void give_objects(void* list, unsigned count);

} // namespace oblako::allocator
