#include "core/fs/page_tree.hh"
#include "core/mem/frames.hh"
#include "core/mem/heap.hh"
#include "core/sched/thread.hh"

namespace oblako::fs {

struct page_tree::inner {
  void* children[fanout];
};

result<uint8_t*> page_tree::new_page(bool zeroed) {
  // The last 1/32 of memory is not given to files.
  const auto usage = mem::frame_usage();
  if (usage.free_bytes < usage.total_bytes / 32)
    return error::nospc;
  auto frame = mem::allocate_frames(0, zeroed ? mem::zeroed::yes : mem::zeroed::no);
  if (!frame.ok())
    return error::nospc;
  return static_cast<uint8_t*>(mem::to_virtual(*frame));
}

void page_tree::free_page(uint8_t* page) {
  mem::free_frames(mem::to_physical(page), 0);
}

uint8_t* page_tree::find(uint64_t index) const {
  if (!fits(index, height_))
    return nullptr;
  void* at = root_;
  for (unsigned h = height_; h && at; --h)
    at = static_cast<inner*>(at)->children[(index >> ((h - 1) * shift)) % fanout];
  return static_cast<uint8_t*>(at);
}

// Puts levels on top until `index` fits.
result<void> page_tree::grow(uint64_t index) {
  while (!fits(index, height_)) {
    if (root_) {
      auto* top = static_cast<inner*>(mem::allocate_zeroed(sizeof(inner)));
      if (!top)
        return error::nomem;
      top->children[0] = root_;
      root_ = top;
    }
    ++height_;
  }
  return {};
}

result<void> page_tree::insert(uint64_t index, uint8_t* page) {
  TRY(grow(index));
  void** at = &root_;
  for (unsigned h = height_; h; --h) {
    if (!*at && !(*at = mem::allocate_zeroed(sizeof(inner))))
      return error::nomem;
    at = &static_cast<inner*>(*at)->children[(index >> ((h - 1) * shift)) % fanout];
  }
  *at = page;
  ++pages_;
  return {};
}

void page_tree::drop(uint64_t index) {
  if (!fits(index, height_))
    return;
  void** at = &root_;
  for (unsigned h = height_; h; --h) {
    if (!*at)
      return;
    at = &static_cast<inner*>(*at)->children[(index >> ((h - 1) * shift)) % fanout];
  }
  if (*at) {
    free_page(static_cast<uint8_t*>(*at));
    *at = nullptr;
    --pages_;
  }
}

uint64_t page_tree::first_in(void* subtree, unsigned height, uint64_t from) {
  if (!subtree || !fits(from, height))
    return ~uint64_t{0};
  if (height == 0)
    return 0;
  const unsigned below = (height - 1) * shift;
  for (uint64_t i = from >> below; i < fanout; ++i) {
    const uint64_t first = i << below;
    const uint64_t found = first_in(static_cast<inner*>(subtree)->children[i], height - 1,
                                    from > first ? from - first : 0);
    if (found != ~uint64_t{0})
      return first + found;
  }
  return ~uint64_t{0};
}

bool page_tree::prune(void* subtree, unsigned height, uint64_t from, size_t& left) {
  if (height == 0) {
    if (from > 0 || left == 0)
      return false;
    free_page(static_cast<uint8_t*>(subtree));
    --pages_;
    --left;
    return true;
  }
  auto* n = static_cast<inner*>(subtree);
  const unsigned below = (height - 1) * shift;
  bool empty = true;
  for (unsigned i = 0; i < fanout; ++i) {
    if (!n->children[i])
      continue;
    const uint64_t first = uint64_t{i} << below;
    if (i < from >> below) // all of it stays: not looked into
      empty = false;
    else if (prune(n->children[i], height - 1, from > first ? from - first : 0, left))
      n->children[i] = nullptr;
    else
      empty = false;
    if (left == 0 && !empty)
      return false;
  }
  if (empty)
    mem::release_sized(n, sizeof(inner));
  return empty;
}

bool page_tree::drop_from(uint64_t index, size_t most) {
  if (root_ && prune(root_, height_, index, most)) {
    root_ = nullptr;
    height_ = 0;
  }
  return most != 0 || !root_;
}

page_tree::~page_tree() {
  while (!drop_from(0, batch))
    sched::yield_if_needed();
}

} // namespace oblako::fs
