// Slabs: runs of pages cut into objects of one class. What a thread's cache takes and returns.
#include "libc/malloc/internal.hh"

namespace oblako::allocator {

namespace {

// --- under the lock
run* with_room[max_classes];
uint8_t slabs_made[max_classes]; // up to `growing_slabs`
// ---

// A class that has shown to be in use gets several slabs in one run: what is not used of it is not
// touched either, and a search for pages is saved each time.
constexpr unsigned growing_slabs = 4;

unsigned pages_of_next_slab(unsigned size_class) {
  uint8_t& made = slabs_made[size_class];
  const unsigned pages = oblako_malloc_classes.slab_pages[size_class];
  if (made < growing_slabs) {
    ++made;
    return pages;
  }
  return pages > 4 ? pages : pages * 4;
}

unsigned capacity(const run* r) {
  return static_cast<unsigned>(r->pages * page_size / oblako_malloc_classes.size[r->size_class]);
}

void enlist(run* r) {
  run*& head = with_room[r->size_class];
  r->listed = true;
  r->previous = nullptr;
  r->next = head;
  if (head)
    head->previous = r;
  head = r;
}

void delist(run* r) {
  r->listed = false;
  (r->previous ? r->previous->next : with_room[r->size_class]) = r->next;
  if (r->next)
    r->next->previous = r->previous;
}

run* add_slab(unsigned size_class) {
  bool zeroed;
  run* r = take_run(pages_of_next_slab(size_class), page_size, zeroed);
  if (!r) // in the little room left a small one may fit
    r = take_run(oblako_malloc_classes.slab_pages[size_class], page_size, zeroed);
  if (!r)
    return nullptr;
  r->free = nullptr;
  r->used = r->fresh = 0;
  r->size_class = static_cast<uint8_t>(size_class);
  region* g = region_of(r);
  const unsigned first = static_cast<unsigned>(r - g->runs);
  for (unsigned i = 0; i < r->pages; ++i) {
    g->kind[first + i] = r->size_class;
    g->back[first + i] = static_cast<uint8_t>(i);
  }
  enlist(r);
  return r;
}

// Puts the objects [first, first + count) in front of the list, in the order of their addresses.
// Two by two, in turns between two pointers: two instructions an object.
void link_fresh(char* first, unsigned count, size_t size, void*& list) {
  if (!count)
    return;
  char* even = first;
  char* odd;
  for (unsigned pairs = (count - 1) / 2; pairs; --pairs) {
    odd = even + size;
    *reinterpret_cast<void**>(even) = odd;
    even = odd + size;
    *reinterpret_cast<void**>(odd) = even;
  }
  if (count % 2 == 0) {
    odd = even + size;
    *reinterpret_cast<void**>(even) = odd;
    even = odd;
  }
  *reinterpret_cast<void**>(even) = list;
  list = first;
}

// Puts up to `wanted` objects in front of the list.
unsigned take_from(run* r, unsigned wanted, void*& list) {
  unsigned taken = 0;
  for (; taken < wanted && r->free; ++taken) {
    void* object = r->free;
    r->free = *static_cast<void**>(object);
    *static_cast<void**>(object) = list;
    list = object;
  }
  const size_t size = oblako_malloc_classes.size[r->size_class];
  const unsigned end = capacity(r);
  unsigned fresh = end - r->fresh;
  if (fresh > wanted - taken)
    fresh = wanted - taken;
  link_fresh(static_cast<char*>(address_of(r)) + r->fresh * size, fresh, size, list);
  r->fresh = static_cast<uint16_t>(r->fresh + fresh);
  r->used = static_cast<uint16_t>(r->used + taken + fresh);
  if (!r->free && r->fresh == end)
    delist(r);
  return taken + fresh;
}

} // namespace

unsigned take_objects(unsigned size_class, unsigned wanted, void*& list) {
  unsigned taken = 0;
  while (taken < wanted) {
    run* r = with_room[size_class];
    if (!r && (taken || !(r = add_slab(size_class))))
      break; // what there is will do before memory is taken for more
    taken += take_from(r, wanted - taken, list);
  }
  return taken;
}

void give_objects(void* list, unsigned count) {
  for (; count; --count) {
    void* object = list;
    list = *static_cast<void**>(object);
    region* g = region_of(object);
    const unsigned page = page_of(object);
    run* r = &g->runs[page - g->back[page]];
    *static_cast<void**>(object) = r->free;
    r->free = object;
    if (!r->listed)
      enlist(r);
    // The last slab of a class stays.
    if (--r->used == 0 && (r->next || r->previous)) {
      delist(r);
      give_run(r);
    }
  }
}

} // namespace oblako::allocator
