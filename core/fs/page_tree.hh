// The pages of a file in memory: a radix tree of page frames by page index, 64 children a node.
// Absent pages are holes. Cost follows the pages that are there, not the file's size. No lock of
// its own.
#pragma once

#include "core/base/result.hh"
#include "core/base/types.hh"
#include <stdint.h>
#include <utility>

namespace oblako::fs {

class page_tree : noncopyable {
public:
  ~page_tree(); // gives up the CPU now and then if there are many pages

  // The page's memory, or nullptr if there is none at this index.
  uint8_t* find(uint64_t index) const;
  // Puts a frame from new_page() at an index where there is none. Errors: nomem; the page stays
  // the caller's then.
  result<void> insert(uint64_t index, uint8_t* page);
  // Frees the page at this index, if any.
  void drop(uint64_t index);
  // The lowest index at or after `index` that has a page; ~0 if none.
  uint64_t first_from(uint64_t index) const { return first_in(root_, height_, index); }
  void swap(page_tree& o) {
    std::swap(root_, o.root_);
    std::swap(height_, o.height_);
    std::swap(pages_, o.pages_);
  }
  // Frees pages at `index` and beyond, `most` of them at a time. True: none are left there.
  bool drop_from(uint64_t index, size_t most = ~size_t{0});
  static constexpr size_t batch = 256; // for callers that do something else in between
  uint64_t pages() const { return pages_; }

  // A frame for file data. Errors: nospc when memory is nearly exhausted: files must not take what
  // the application needs to go on.
  static result<uint8_t*> new_page(bool zeroed);
  static void free_page(uint8_t* page);

private:
  static constexpr unsigned shift = 6;
  static constexpr unsigned fanout = 1u << shift;
  struct inner;

  // Indices a tree of this height can hold; height 0 is one page without inner nodes.
  static bool fits(uint64_t index, unsigned height) {
    return height * shift >= 64 || index >> (height * shift) == 0;
  }
  result<void> grow(uint64_t index);
  static uint64_t first_in(void* subtree, unsigned height, uint64_t from);
  // Frees what lies at or beyond `from` (relative to this subtree), `left` pages at most and
  // counted down; true if the subtree is gone.
  bool prune(void* subtree, unsigned height, uint64_t from, size_t& left);

  void* root_ = nullptr; // a page (height 0) or an inner node
  unsigned height_ = 0;
  uint64_t pages_ = 0;
};

} // namespace oblako::fs
