// Metadata of physical memory, for the frame allocator and the heap only: one record per 2 MB
// block, and on request a small tag per page. Records come into being when a block is first used.
#pragma once

#include "core/base/result.hh"
#include "core/base/types.hh"
#include <boost/intrusive/list.hpp>

namespace oblako::mem {

constexpr unsigned pages_per_block = large_page_size / page_size;
constexpr unsigned block_shift = 21;

// What the heap knows about one of its pages (core/mem/heap.cc says what the fields mean).
struct page_tag {
  uint16_t first_free;
  uint16_t fresh;
  uint16_t used;
  uint8_t kind;
  uint8_t size_class;
  uint32_t next;
  uint32_t previous;
};
static_assert(sizeof(page_tag) == 16);

struct tag_group {
  static constexpr unsigned pages = 64;
  page_tag tags[pages];
};

enum class block_list : uint8_t { none, partial, whole };

// Everything here is guarded by the frame allocator's lock; `tags`, once set, never changes.
struct block
    : boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::normal_link>> {
  phys_addr base{};
  uint16_t free_count = 0;
  uint8_t words_with_free = 0; // bit per element of `free` that is not zero
  block_list list = block_list::none;
  bool made = false;
  uint64_t free[pages_per_block / 64] = {}; // 1: the page is free
  tag_group* tags[pages_per_block / tag_group::pages] = {};
};

// The tag of a page that belongs to the caller. The first one in a group costs memory.
// nullptr: out of memory. Context: as allocate_frames.
page_tag* make_page_tag(phys_addr page);
// The tag of a page for which make_page_tag() has succeeded.
page_tag& page_tag_of(phys_addr page);

// --- frame_blocks.cc, used by frames.cc under its lock

// The record of the block that holds the address; it must exist.
block& block_of(phys_addr address);
block* find_block(phys_addr address); // nullptr if there is none
// Makes the record. `more` gives a zeroed page of memory for records, or nullptr.
block* make_block(phys_addr address, void* (*more)(void*), void* context);
// Memory for metadata: zeroed, never freed, at most a page.
void* metadata(size_t bytes, void* (*more)(void*), void* context);

// Pages [first, first + count) of the block become free / used. Pages must be in the other state.
void mark_free(block& b, unsigned first, unsigned count);
void mark_used(block& b, unsigned first, unsigned count);
// First page of a free run of 2^order pages aligned to its size, or -1.
int find_run(const block& b, unsigned order);

} // namespace oblako::mem
