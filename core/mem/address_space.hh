// The application's address space as the mmap family and the fault path share it: areas in address
// order, the search for free addresses, and the bookkeeping. Only for core/mem.
#pragma once

#include "arch/x64/paging.hh"
#include "core/base/late.hh"
#include "core/mem/app_memory.hh"
#include "core/mem/areas.hh"
#include "core/mem/heap.hh"
#include "core/sched/wait.hh"
#include <boost/intrusive/set.hpp>

namespace oblako::mem {

// New mappings go upwards from here, first fit. Below lie the image and the break; the first
// gigabyte ends here, so the first mappings share the upper page tables with the image.
constexpr uintptr_t mapping_base = 0x40000000;
// Left free below a stack, so that running over its end faults.
constexpr size_t stack_guard = 64_KiB;

enum area_flags : uint8_t {
  area_image = 1,    // of the application's image: what it was loaded with stays
  area_stack = 2,    // small pages only, and room for a guard below
  area_heap = 4,     // brk
  area_huge = 8,     // MADV_HUGEPAGE
  area_no_huge = 16, // MADV_NOHUGEPAGE
  // Of the image, and sealed: nothing is put in its place.
  area_text = 32,
  area_constant = 64,
  area_sealed = area_text | area_constant,
};

struct area
    : boost::intrusive::set_base_hook<boost::intrusive::link_mode<boost::intrusive::normal_link>> {
  uintptr_t start = 0, end = 0;
  uint32_t prot = 0;
  uint8_t flags = 0;
  // Faults that walk upwards are served several pages at a time: where the next one is expected,
  // and how many pages it would get.
  uint8_t window = 1;
  uintptr_t next_fault = 0;
  // File mapping: the area holds a reference; `offset` is that of its start.
  page_source* source = nullptr;
  uint64_t offset = 0;

  area() = default;
  area(uintptr_t start, uintptr_t end, uint32_t prot, uint8_t flags)
      : start(start), end(end), prot(prot), flags(flags) {}
  ~area() {
    if (source)
      source->drop_reference();
  }
  bool contains(uintptr_t address) const { return address - start < end - start; }
};

struct area_start {
  using type = uintptr_t;
  type operator()(const area& a) const { return a.start; }
};

class address_space : noncopyable {
public:
  using tree = boost::intrusive::set<area, boost::intrusive::key_of_value<area_start>,
                                     boost::intrusive::constant_time_size<false>>;

  // Guards everything below and the application's page tables.
  sched::mutex lock;
  uint64_t mapped_bytes = 0;
  uint64_t resident_pages = 0;
  uintptr_t break_start = 0, break_end = 0;           // brk: page-aligned start, current value
  phys_addr image_frames_start{}, image_frames_end{}; // not the frame allocator's

  // The area that holds the address, or nullptr.
  area* find(uintptr_t address) {
    area* a = recent_;
    if (a && a->contains(address)) [[likely]]
      return a;
    return find_in_tree(address);
  }
  // The first area that ends behind the address, and the one after an area; nullptr if there is
  // none.
  area* first_behind(uintptr_t address);
  area* after(area& a);
  area* before(area& a);
  bool overlaps(uintptr_t start, uintptr_t end);
  // True if one of the areas in the range is sealed.
  bool holds_sealed(uintptr_t start, uintptr_t end);
  // True if areas cover the whole range.
  bool covered(uintptr_t start, uintptr_t end);

  // Puts an area in (its addresses must be free) and joins it with neighbours of the same kind.
  void insert(area& a);
  // The same for one that has nothing to join, as at boot.
  void enter(area& a);
  // Joins the areas in and around the range where they are of one kind.
  void merge_around(uintptr_t start, uintptr_t end);
  // Makes `at` a border between areas. Errors: nomem.
  result<void> split(uintptr_t at);
  // Takes [start, end) out: pages and areas. Errors: nomem, perm (text or constants of the image);
  // nothing changed then.
  result<void> cut(uintptr_t start, uintptr_t end);
  // The same without touching the pages (they were moved). The borders must have been split.
  void forget(uintptr_t start, uintptr_t end);

  // Free addresses for `bytes`, congruent to `offset` modulo `alignment` (a power of two); 0: none.
  uintptr_t find_gap(size_t bytes, size_t alignment, size_t offset, bool stack);

private:
  friend address_space& space();
  void construct();
  area* find_in_tree(uintptr_t address);
  bool try_merge(area& left, area& right);
  void erase(area& a);
  uintptr_t search(uintptr_t from, size_t bytes, size_t alignment, size_t offset, size_t below);

  late<tree> areas_;
  bool constructed_ = false;
  area* recent_ = nullptr;
  // Below search_from_ there is no gap larger than largest_hole_.
  uintptr_t search_from_ = 0;
  size_t largest_hole_ = 0;
};

extern address_space the_space; // there is one

inline address_space& space() {
  if (!the_space.constructed_) [[unlikely]]
    the_space.construct();
  return the_space;
}

// Frames given back when pages go: all but those of the loaded image. Counts them.
void release_app_frames(phys_addr start, unsigned order);

// Whether an area with these flags may have the protection. Errors: acces.
result<void> check_protection(uint8_t flags, uint32_t prot);

// The page-table flags that a protection means.
inline uint64_t page_flags_for(uint32_t prot) {
  uint64_t flags = prot & prot_exec ? 0 : uint64_t{arch::page_no_execute};
  if (prot & prot_write)
    flags |= arch::page_writable;
  return prot == prot_none ? flags : flags | arch::page_present;
}

} // namespace oblako::mem
