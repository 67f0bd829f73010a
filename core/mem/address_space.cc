// The tree of areas: finding, splitting, joining, taking out, and the search for free addresses.
#include "core/mem/address_space.hh"
#include "arch/x64/paging.hh"
#include "core/log/log.hh"
#include "core/mem/frames.hh"
#include "core/sched/thread.hh"

namespace oblako::mem {

constinit address_space the_space;

namespace {

size_t guard_of(const area& a) {
  return a.flags & area_stack ? stack_guard : 0;
}

bool same_kind(const area& left, const area& right) {
  if (left.prot != right.prot || left.flags != right.flags || left.source != right.source)
    return false;
  return !left.source || left.offset + (left.end - left.start) == right.offset;
}

} // namespace

void address_space::construct() {
  areas_.construct();
  constructed_ = true;
  search_from_ = mapping_base;
}

area* address_space::first_behind(uintptr_t address) {
  auto next = areas_->upper_bound(address);
  if (next != areas_->begin()) {
    auto previous = next;
    --previous;
    if (previous->end > address)
      return &*previous;
  }
  return next == areas_->end() ? nullptr : &*next;
}

area* address_space::after(area& a) {
  auto next = ++areas_->iterator_to(a);
  return next == areas_->end() ? nullptr : &*next;
}

area* address_space::before(area& a) {
  auto i = areas_->iterator_to(a);
  return i == areas_->begin() ? nullptr : &*--i;
}

area* address_space::find_in_tree(uintptr_t address) {
  area* a = first_behind(address);
  if (!a || !a->contains(address))
    return nullptr;
  recent_ = a;
  return a;
}

bool address_space::overlaps(uintptr_t start, uintptr_t end) {
  area* a = first_behind(start);
  return a && a->start < end;
}

bool address_space::holds_sealed(uintptr_t start, uintptr_t end) {
  for (area* a = first_behind(start); a && a->start < end; a = after(*a))
    if (a->flags & area_sealed)
      return true;
  return false;
}

bool address_space::covered(uintptr_t start, uintptr_t end) {
  for (area* a = first_behind(start); a && a->start <= start; a = after(*a)) {
    start = a->end;
    if (start >= end)
      return true;
  }
  return start >= end;
}

void address_space::erase(area& a) {
  if (recent_ == &a)
    recent_ = nullptr;
  areas_->erase(areas_->iterator_to(a));
  mapped_bytes -= a.end - a.start;
  a.~area();
  release(&a);
}

// Joins right into left if nothing tells them apart. True: right is gone.
bool address_space::try_merge(area& left, area& right) {
  if (left.end != right.start || !same_kind(left, right))
    return false;
  const size_t bytes = right.end - right.start;
  const uintptr_t next_fault = right.next_fault;
  erase(right);
  left.end += bytes;
  mapped_bytes += bytes;
  if (next_fault > left.next_fault)
    left.next_fault = next_fault;
  return true;
}

void address_space::merge_around(uintptr_t start, uintptr_t end) {
  area* a = first_behind(start ? start - 1 : 0);
  while (a && a->start < end) {
    area* next = after(*a);
    if (!next)
      return;
    if (!try_merge(*a, *next))
      a = next;
  }
}

void address_space::enter(area& a) {
  areas_->insert(a);
  mapped_bytes += a.end - a.start;
  recent_ = &a;
}

void address_space::insert(area& a) {
  enter(a);
  area* left = &a;
  if (area* previous = before(a))
    if (try_merge(*previous, a))
      left = previous;
  if (area* next = after(*left))
    try_merge(*left, *next);
}

result<void> address_space::split(uintptr_t at) {
  area* a = find(at);
  if (!a || a->start == at)
    return {};
  area* upper = TRY(make<area>(at, a->end, a->prot, a->flags)).release();
  upper->next_fault = a->next_fault;
  if (a->source) {
    upper->source = a->source;
    upper->source->add_reference();
    upper->offset = a->offset + (at - a->start);
  }
  a->end = at;
  areas_->insert(*upper);
  return {};
}

void address_space::forget(uintptr_t start, uintptr_t end) {
  for (area* a = first_behind(start); a && a->start < end;) {
    area* next = after(*a);
    erase(*a);
    a = next;
  }
  if (start < search_from_) {
    search_from_ = max_of(start, mapping_base);
    largest_hole_ = ~size_t{0};
  }
}

result<void> address_space::cut(uintptr_t start, uintptr_t end) {
  if (!overlaps(start, end))
    return {};
  if (holds_sealed(start, end))
    return error::perm;
  auto done = [&]() -> result<void> {
    TRY(split(start));
    TRY(split(end));
    return arch::unmap_range(start, end, release_app_frames);
  }();
  if (done.ok())
    forget(start, end);
  else
    merge_around(start, end);
  return done;
}

// First fit upwards from `from`. Keeps the note of what the passed holes could have held.
uintptr_t address_space::search(uintptr_t from, size_t bytes, size_t alignment, size_t offset,
                                size_t below) {
  uintptr_t at = from;
  for (area* a = first_behind(at);; a = after(*a)) {
    const uintptr_t limit = a ? a->start - guard_of(*a) : app_range_end;
    const uintptr_t start = align_up(at + below - offset, alignment) + offset;
    if (limit > start && limit - start >= bytes) {
      if (start - at > largest_hole_)
        largest_hole_ = start - at;
      search_from_ = start + bytes;
      return start;
    }
    if (!a)
      return 0;
    if (limit > at && limit - at > largest_hole_)
      largest_hole_ = limit - at;
    at = a->end;
  }
}

uintptr_t address_space::find_gap(size_t bytes, size_t alignment, size_t offset, bool stack) {
  const size_t below = stack ? stack_guard : 0;
  if (bytes + below > largest_hole_)
    if (uintptr_t found = search(search_from_, bytes, alignment, offset, below))
      return found;
  largest_hole_ = 0;
  return search(mapping_base, bytes, alignment, offset, below);
}

void release_app_frames(phys_addr start, unsigned order) {
  if (raw(start) >= raw(the_space.image_frames_start) &&
      raw(start) < raw(the_space.image_frames_end))
    return;
  the_space.resident_pages -= uint64_t{1} << order;
  free_frames(start, order);
  sched::yield_if_needed(); // there may be millions of pages
}

} // namespace oblako::mem
