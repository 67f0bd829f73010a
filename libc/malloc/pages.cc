// Regions and their pages: runs are found first fit by bitmap, neighbours join by themselves, pages
// that were used and are free go back to the system when they have become many.
#include "libc/malloc/internal.hh"
#include <sys/mman.h>

namespace oblako::allocator {

namespace {

// All under the lock.
region* with_space;     // regions with free pages, the one last used first
size_t run_pages;       // in runs
size_t dirty_pages;     // free, but not given back
uintptr_t next_address; // where the next mapping is asked to lie; a hint

// How much may lie around before it is given back.
size_t dirty_limit() {
  return run_pages / 8 > 64 ? run_pages / 8 : 64;
}

void enlist(region* g) {
  g->listed = true;
  g->previous = nullptr;
  g->next = with_space;
  if (with_space)
    with_space->previous = g;
  with_space = g;
}

void delist(region* g) {
  g->listed = false;
  (g->previous ? g->previous->next : with_space) = g->next;
  if (g->next)
    g->next->previous = g->previous;
}

// The bits of pages [first, end) in word `w`.
uint64_t bits(unsigned w, unsigned first, unsigned end) {
  const unsigned from = first > w * 64 ? first - w * 64 : 0;
  const unsigned to = end < w * 64 + 64 ? end - w * 64 : 64;
  return (to == 64 ? ~uint64_t{0} : (uint64_t{1} << to) - 1) & (~uint64_t{0} << from);
}

template <class F>
void for_words(unsigned first, unsigned count, F f) {
  for (unsigned w = first / 64; w * 64 < first + count; ++w)
    f(w, bits(w, first, first + count));
}

// First page from `from` on whose bit in `map` is `value`; region_pages if there is none.
unsigned next_page(const uint64_t* map, unsigned from, bool value) {
  while (from < region_pages) {
    const uint64_t word = (value ? map[from / 64] : ~map[from / 64]) >> (from % 64);
    if (word)
      return from + static_cast<unsigned>(__builtin_ctzll(word));
    from = (from / 64 + 1) * 64;
  }
  return region_pages;
}

unsigned find_free(const region* g, unsigned pages, unsigned align_pages) {
  for (unsigned at = header_pages;;) {
    at = next_page(g->used, at, false);
    at = (at + align_pages - 1) & ~(align_pages - 1);
    if (at + pages > region_pages)
      return region_pages;
    const unsigned end = next_page(g->used, at, true);
    if (end >= at + pages)
      return at;
    at = end;
  }
}

// Marks pages used; true if none of them held anything.
bool occupy(region* g, unsigned first, unsigned count) {
  unsigned dirty = 0;
  for_words(first, count, [&](unsigned w, uint64_t mask) {
    g->used[w] |= mask;
    dirty += static_cast<unsigned>(__builtin_popcountll(g->dirty[w] & mask));
    g->dirty[w] &= ~mask;
  });
  dirty_pages -= dirty;
  run_pages += count;
  g->free_pages -= count;
  if (g->free_pages == 0)
    delist(g);
  return dirty == 0;
}

void give_back_dirty(region* g) {
  for (unsigned at = 0; (at = next_page(g->dirty, at, true)) < region_pages;) {
    const unsigned end = next_page(g->dirty, at, false);
    // It may fail for want of memory (a large page has to be cut): then they stay as they are.
    if (madvise(reinterpret_cast<char*>(g) + at * page_size, (end - at) * page_size,
                MADV_DONTNEED) == 0) {
      for_words(at, end - at, [&](unsigned w, uint64_t mask) { g->dirty[w] &= ~mask; });
      dirty_pages -= end - at;
    }
    at = end;
  }
}

void vacate(region* g, unsigned first, unsigned count) {
  for_words(first, count, [&](unsigned w, uint64_t mask) {
    g->used[w] &= ~mask;
    g->dirty[w] |= mask;
  });
  for (unsigned i = first; i < first + count; ++i)
    g->kind[i] = 0;
  run_pages -= count;
  dirty_pages += count;
  g->free_pages += count;
  if (!g->listed)
    enlist(g);
}

// Gives an empty region back. False: the system would not take it.
bool remove_region(region* g) {
  size_t dirty = 0;
  for (uint64_t word : g->dirty)
    dirty += static_cast<size_t>(__builtin_popcountll(word));
  delist(g);
  if (munmap(g, region_size) != 0) {
    enlist(g);
    return false;
  }
  dirty_pages -= dirty;
  return true;
}

// Keeps what lies around free within bounds. One region stays even if it is empty.
void tidy(region* last) {
  const bool empty = last->free_pages == region_pages - header_pages;
  if (empty && (last->next || last->previous) && remove_region(last))
    return;
  if (dirty_pages <= dirty_limit())
    return;
  for (region* g = with_space; g; g = g->next)
    give_back_dirty(g);
}

region* add_region() {
  auto* g = static_cast<region*>(map_aligned(region_size));
  if (!g)
    return nullptr;
  g->mapped_bytes = region_size;
  g->free_pages = region_pages - header_pages;
  for_words(0, header_pages, [&](unsigned w, uint64_t mask) { g->used[w] = mask; });
  enlist(g);
  return g;
}

} // namespace

void* map_aligned(size_t bytes) {
  constexpr int protection = PROT_READ | PROT_WRITE, kind = MAP_PRIVATE | MAP_ANONYMOUS;
  const uintptr_t hint =
      __atomic_load_n(&next_address, __ATOMIC_RELAXED); // a hint: any value will do
  void* p = mmap(reinterpret_cast<void*>(hint), bytes, protection, kind, -1, 0);
  if (p == MAP_FAILED)
    return nullptr;
  auto at = reinterpret_cast<uintptr_t>(p);
  if (at % region_size) {
    // Once more with room to cut the aligned part out of.
    munmap(p, bytes);
    const size_t room = bytes + region_size;
    p = mmap(nullptr, room, protection, kind, -1, 0);
    if (p == MAP_FAILED)
      return nullptr;
    const auto start = reinterpret_cast<uintptr_t>(p);
    at = align_up(start, region_size);
    if (at != start)
      munmap(p, at - start);
    if (start + room != at + align_up(bytes, page_size))
      munmap(reinterpret_cast<void*>(at + align_up(bytes, page_size)),
             start + room - at - align_up(bytes, page_size));
  }
  __atomic_store_n(&next_address, align_up(at + bytes, region_size), __ATOMIC_RELAXED);
  return reinterpret_cast<void*>(at);
}

run* take_run(unsigned pages, size_t alignment, bool& zeroed) {
  const unsigned align_pages =
      alignment <= page_size ? 1 : static_cast<unsigned>(alignment / page_size);
  region* g = with_space;
  unsigned first = region_pages;
  for (; g; g = g->next)
    if (g->free_pages >= pages && (first = find_free(g, pages, align_pages)) < region_pages)
      break;
  if (!g) {
    g = add_region();
    if (!g)
      return nullptr;
    first = find_free(g, pages, align_pages);
  }
  zeroed = occupy(g, first, pages);
  run* r = &g->runs[first];
  r->pages = static_cast<uint16_t>(pages);
  return r;
}

void give_run(run* r) {
  region* g = region_of(r);
  vacate(g, static_cast<unsigned>(r - g->runs), r->pages);
  tidy(g);
}

bool resize_run(run* r, unsigned pages) {
  region* g = region_of(r);
  const unsigned first = static_cast<unsigned>(r - g->runs), end = first + r->pages;
  if (pages > r->pages) {
    if (first + pages > region_pages || next_page(g->used, end, true) < first + pages)
      return false;
    occupy(g, end, first + pages - end);
  } else if (pages < r->pages) {
    vacate(g, first + pages, end - first - pages);
    tidy(g);
  }
  r->pages = static_cast<uint16_t>(pages);
  return true;
}

} // namespace oblako::allocator
