// The page-table format (Intel SDM vol. 3, 4.5) and the walk steps that paging.cc and
// direct_map.cc share. Not for others.
#pragma once

#include "arch/x64/paging.hh"
#include "core/mem/frames.hh"

namespace oblako::arch {

using entry = uint64_t;

constexpr entry address_mask = 0x000ffffffffff000;
// Software's bits. A table that map_page() made is counted: the entry that points at it holds the
// number of its non-zero entries, so that an empty table is known without reading it. Tables made
// at boot are not counted and never freed.
constexpr entry counted = 1u << 9;
constexpr entry count_one = entry{1} << 52;
constexpr entry count_mask = entry{0x7ff} << 52;

// Accessed and dirty are set in advance: the CPU then never has to write the entry.
constexpr entry table_flags = page_present | page_writable | page_accessed;
constexpr entry leaf_flags = page_accessed | page_dirty;

// Levels: 4 is the root (PML4), 1 holds 4 kB pages; 2 may hold 2 MB pages, 3 1 GB pages.
constexpr unsigned level_shift(unsigned level) {
  return 12 + 9 * (level - 1);
}
constexpr unsigned index_at(uintptr_t va, unsigned level) {
  return (va >> level_shift(level)) & 511;
}

inline bool is_leaf(entry e, unsigned level) {
  return level == 1 || (e & page_large);
}
inline entry* table_at(entry e) {
  return static_cast<entry*>(mem::to_virtual(phys_addr{e & address_mask}));
}

#ifdef OBLAKO_HOST_TEST
inline entry* host_root = nullptr;
inline entry* root_table() {
  return host_root;
}
inline void flush_page(uintptr_t) {}
inline void flush_all() {}
#else
inline entry* root_table() {
  uint64_t cr3;
  asm volatile("mov %%cr3, %0" : "=r"(cr3));
  return table_at(cr3);
}
// Also drops what the CPU remembers of the tables above, for every address.
inline void flush_page(uintptr_t va) {
  asm volatile("invlpg (%0)" ::"r"(va) : "memory");
}
// Everything but global entries: those are the kernel's, and go by flush_page().
inline void flush_all() {
  uint64_t cr3;
  asm volatile("mov %%cr3, %0; mov %0, %%cr3" : "=r"(cr3)::"memory");
}
#endif

} // namespace oblako::arch
