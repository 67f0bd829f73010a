// The physical frame allocator: bitmaps in 2 MB blocks that are opened, one at a time, from the
// extents boot found. Single pages come from one current block, then from blocks that are already
// broken up, so that whole blocks remain for large pages.
#include "core/mem/frames.hh"
#include "arch/x64/paging.hh"
#include "core/base/late.hh"
#include "core/mem/buffer_account.hh"
#include "core/mem/clear.hh"
#include "core/mem/frame_blocks.hh"
#include "core/sched/spinlock.hh"

namespace oblako::mem {

frame_counters frame_counts;

namespace {

using blocks = boost::intrusive::list<block, boost::intrusive::constant_time_size<false>>;

struct extent {
  uint64_t start, end;
};
constexpr unsigned max_extents = 64;
// How many broken blocks a request for several pages looks through before it breaks a whole one.
constexpr unsigned search_limit = 8;

sched::spinlock lock{sched::lock_rank::frames};
// All guarded by `lock`.
extent extents[max_extents];
unsigned extent_count;
// Never has a free page: the fast path needs no test for "none yet". All zero is its right state.
late<block> no_block;
block* current;              // in no list; no_block until there is another, null before boot
late<blocks> partial, whole; // constructed with the first extent

void settle(block& b) {
  block_list want = block_list::none;
  if (&b != current && b.free_count)
    want = b.free_count == pages_per_block ? block_list::whole : block_list::partial;
  if (want == b.list)
    return;
  if (b.list != block_list::none)
    (b.list == block_list::whole ? whole : partial)->erase(blocks::s_iterator_to(b));
  b.list = want;
  if (want != block_list::none)
    (want == block_list::whole ? whole : partial)->push_front(b);
}

void make_current(block& b) {
  block& old = *current;
  current = &b;
  settle(b);
  settle(old);
}

inline phys_addr take_page(block& b) {
  const unsigned word = static_cast<unsigned>(__builtin_ctz(b.words_with_free));
  const uint64_t free = b.free[word];
  const unsigned page = word * 64 + static_cast<unsigned>(__builtin_ctzll(free));
  b.free[word] = free & (free - 1);
  if (!b.free[word])
    b.words_with_free &= b.words_with_free - 1;
  --b.free_count;
  --frame_counts.free;
  return b.base + page * page_size;
}

// Memory for block records while a piece is being opened: a page from a broken block, or one from
// the front of the piece.
void* metadata_page(void* piece) {
  auto& e = *static_cast<extent*>(piece);
  phys_addr page;
  if (current->free_count) {
    page = take_page(*current);
  } else if (!partial->empty()) {
    block& b = partial->front();
    page = take_page(b);
    settle(b);
  } else if (e.start < e.end) {
    page = phys_addr{e.start};
    e.start += page_size;
    --frame_counts.free;
  } else {
    return nullptr;
  }
  clear_pages(to_virtual(page), 1);
  return to_virtual(page);
}

// Opens the part of an extent that lies in its first 2 MB block, or less beside the image. Pages
// that cannot be used (no room for the tables they need) are dropped.
void open_first_block(extent& e) {
  extent piece{e.start, min_of(e.end, align_down(e.start, large_page_size) + large_page_size)};
  uint64_t bytes = piece.end - piece.start;
  auto tables = arch::map_new_memory(phys_addr{piece.start}, bytes);
  e.start = piece.end = piece.start + bytes;
  block* b = nullptr;
  if (tables.ok()) {
    piece.start += tables.value() * page_size;
    frame_counts.free -= tables.value();
    b = make_block(phys_addr{piece.end - 1}, metadata_page, &piece);
  }
  const uint64_t pages = (piece.end - piece.start) >> page_shift;
  if (!b) {
    frame_counts.free -= pages;
    return;
  }
  if (pages)
    mark_free(*b, (piece.start >> page_shift) % pages_per_block, static_cast<unsigned>(pages));
  settle(*b);
}

// Opens blocks until something new was found that may hold 2^order pages. False: no memory left.
bool open_another(unsigned order) {
  const uint64_t size = page_size << order;
  for (unsigned i = 0; i < extent_count; ++i) {
    extent& e = extents[i];
    if (e.start < e.end && align_up(e.start, size) + size <= e.end) {
      open_first_block(e);
      return true;
    }
  }
  return false;
}

bool take_run(block& b, unsigned order, phys_addr& out) {
  const int first = find_run(b, order);
  if (first < 0)
    return false;
  mark_used(b, static_cast<unsigned>(first), 1u << order);
  frame_counts.free -= 1u << order;
  out = b.base + static_cast<unsigned>(first) * page_size;
  settle(b);
  return true;
}

bool take_from_partial(unsigned order, unsigned limit, phys_addr& out) {
  for (block& b : *partial) {
    if (limit-- == 0)
      return false;
    if (take_run(b, order, out))
      return true;
  }
  return false;
}

bool take_single(phys_addr& out) {
  while (!current->free_count) {
    if (!partial->empty())
      make_current(partial->front());
    else if (!whole->empty())
      make_current(whole->front());
    else if (!open_another(0))
      return false;
  }
  out = take_page(*current);
  return true;
}

bool take_several(unsigned order, phys_addr& out) {
  if (take_run(*current, order, out))
    return true;
  if (order < 9 && take_from_partial(order, search_limit, out))
    return true;
  for (;;) {
    if (!whole->empty())
      return take_run(whole->front(), order, out);
    // A freshly opened piece need not be whole.
    if (order < 9 && !partial->empty() && take_run(partial->front(), order, out))
      return true;
    if (!open_another(order))
      break;
    // It may be one more piece of the current block.
    if (order < 9 && take_run(*current, order, out))
      return true;
  }
  return order < 9 && take_from_partial(order, ~0u, out);
}

void put_back(phys_addr start, size_t pages) {
  frame_counts.free += pages;
  while (pages) {
    block& b = block_of(start);
    const unsigned first = (raw(start) >> page_shift) % pages_per_block;
    const unsigned n = static_cast<unsigned>(min_of<size_t>(pages, pages_per_block - first));
    mark_free(b, first, n);
    settle(b);
    start = start + n * page_size;
    pages -= n;
  }
}

void put_page(phys_addr page) {
  block& b = block_of(page);
  const unsigned index = (raw(page) >> page_shift) % pages_per_block;
  uint64_t& word = b.free[index / 64];
  const uint64_t mask = uint64_t{1} << (index % 64);
  OBLAKO_ASSERT((word & mask) == 0); // freed twice
  word |= mask;
  b.words_with_free |= 1u << (index / 64);
  ++frame_counts.free;
  const unsigned count = ++b.free_count;
  if (count == 1 || count == pages_per_block) [[unlikely]]
    settle(b);
}

// `count` whole blocks in a row, the first of them, or nullptr.
block* find_adjacent(unsigned count) {
  for (block& b : *whole) {
    unsigned n = 1;
    for (; n < count; ++n) {
      block* next = find_block(b.base + n * large_page_size);
      if (!next || next->list != block_list::whole)
        break;
    }
    if (n == count)
      return &b;
  }
  return nullptr;
}

bool take_blocks(unsigned count, phys_addr& out) {
  block* first = find_adjacent(count);
  for (unsigned i = 0; !first && i < extent_count; ++i) {
    extent& e = extents[i];
    if (align_up(e.start, large_page_size) + count * large_page_size > e.end)
      continue;
    // One more than needed: the first piece may be unaligned, or lose pages to metadata.
    const uint64_t enough = align_up(e.start, large_page_size) + (count + 1) * large_page_size;
    while (e.start < e.end && e.start < enough)
      open_first_block(e);
    first = find_adjacent(count);
  }
  if (!first)
    return false;
  out = first->base;
  for (unsigned n = 0; n < count; ++n) {
    block& b = block_of(out + n * large_page_size);
    mark_used(b, 0, pages_per_block);
    settle(b);
  }
  frame_counts.free -= uint64_t{count} * pages_per_block;
  return true;
}

unsigned order_for(size_t pages) {
  return pages <= 1 ? 0 : 64 - static_cast<unsigned>(__builtin_clzll(pages - 1));
}

// A thirty-second of memory, within bounds.
uint64_t reserve_of(uint64_t total) {
  constexpr uint64_t least = 64_KiB / page_size, most = 8_MiB / page_size;
  return min_of(max_of(total / 32, least), most);
}

} // namespace

void add_free_extent(phys_addr start, uint64_t length) {
  const uint64_t first = max_of<uint64_t>(align_up(raw(start), page_size), page_size);
  const uint64_t end = align_down(raw(start) + length, page_size);
  if (first >= end)
    return;
  sched::thread_spinlock_guard guard(lock);
  if (frame_counts.total == 0) {
    partial.construct();
    current = &*no_block;
    whole.construct();
  }
  if (extent_count == max_extents)
    return; // the rest of such a memory map is not worth a panic
  extents[extent_count++] = {first, end};
  frame_counts.total += (end - first) >> page_shift;
  frame_counts.reserve = reserve_of(frame_counts.total);
  buffers.set_memory(frame_counts.total);
  frame_counts.free += (end - first) >> page_shift;
}

result<phys_addr> allocate_frames(unsigned order, zeroed zero) {
  phys_addr frames;
  {
    sched::thread_spinlock_guard guard(lock);
    if (order == 0 && current && current->free_count) [[likely]]
      frames = take_page(*current);
    else if (frame_counts.total == 0 ||
             !(order == 0 ? take_single(frames) : take_several(order, frames)))
      return error::nomem;
  }
  if (zero == zeroed::yes)
    clear_pages(to_virtual(frames), size_t{1} << order);
  return frames;
}

unsigned allocate_pages(phys_addr* out, unsigned count) {
  unsigned got = 0;
  {
    sched::thread_spinlock_guard guard(lock);
    if (frame_counts.total == 0)
      return 0;
    for (; got < count; ++got) {
      if (current->free_count) [[likely]]
        out[got] = take_page(*current);
      else if (!take_single(out[got]))
        break;
    }
  }
  for (unsigned i = 0; i < got; ++i)
    clear_pages(to_virtual(out[i]), 1);
  return got;
}

void free_frames(phys_addr start, unsigned order) {
  sched::thread_spinlock_guard guard(lock);
  if (order == 0) [[likely]]
    return put_page(start);
  put_back(start, size_t{1} << order);
}

result<phys_addr> allocate_contiguous(size_t pages, zeroed zero) {
  if (pages == 0 || pages > 4096)
    return error::nomem;
  phys_addr frames;
  {
    sched::thread_spinlock_guard guard(lock);
    if (frame_counts.total == 0)
      return error::nomem;
    const unsigned block_count =
        static_cast<unsigned>((pages + pages_per_block - 1) / pages_per_block);
    const bool one_block = pages <= pages_per_block;
    const unsigned order = order_for(pages);
    const bool taken = order == 0  ? take_single(frames)
                       : one_block ? take_several(order, frames)
                                   : take_blocks(block_count, frames);
    if (!taken)
      return error::nomem;
    const size_t got = one_block ? size_t{1} << order : size_t{block_count} * pages_per_block;
    if (got > pages)
      put_back(frames + pages * page_size, got - pages);
  }
  if (zero == zeroed::yes)
    clear_pages(to_virtual(frames), pages);
  return frames;
}

void free_contiguous(phys_addr start, size_t pages) {
  sched::thread_spinlock_guard guard(lock);
  put_back(start, pages);
}

frame_statistics frame_usage() {
  sched::thread_spinlock_guard guard(lock);
  return {frame_counts.total * page_size, frame_counts.free * page_size};
}

page_tag* make_page_tag(phys_addr page) {
  sched::thread_spinlock_guard guard(lock);
  const unsigned index = (raw(page) >> page_shift) % pages_per_block;
  tag_group*& group = block_of(page).tags[index / tag_group::pages];
  if (!group) {
    auto more = [](void*) -> void* {
      phys_addr frame;
      if (!take_single(frame))
        return nullptr;
      clear_pages(to_virtual(frame), 1);
      return to_virtual(frame);
    };
    group = static_cast<tag_group*>(metadata(sizeof(tag_group), more, nullptr));
    if (!group)
      return nullptr;
  }
  return &group->tags[index % tag_group::pages];
}

} // namespace oblako::mem
