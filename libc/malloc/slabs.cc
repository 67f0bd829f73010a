// Slabs: runs of pages cut into objects of one class. What a thread's cache takes and returns.
#include "libc/malloc/internal.hh"

namespace oblako::allocator {

namespace {

run* with_room[max_classes]; // under the lock

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
  run* r = take_run(oblako_malloc_classes.slab_pages[size_class], page_size, zeroed);
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
void link_fresh(char* first, unsigned count, size_t size, void*& list) {
  if (!count)
    return;
  char* object = first;
  auto link = [&] {
    char* next = object + size;
    *reinterpret_cast<void**>(object) = next;
    object = next;
  };
  unsigned left = count - 1;
  for (; left >= 4; left -= 4) {
    link();
    link();
    link();
    link();
  }
  for (; left; --left)
    link();
  *reinterpret_cast<void**>(object) = list;
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
