// mremap: shrinking, growing in place, and moving by moving page-table entries.
#include "arch/x64/paging.hh"
#include "core/mem/address_space.hh"
#include "core/mem/areas.hh"
#include "core/mem/frames.hh"
#include <sys/mman.h>

namespace oblako::mem {

namespace {

struct remap_request {
  uintptr_t start, old_end;
  size_t new_bytes;
  bool may_move, fixed;
  uintptr_t target;
};

bool can_grow_in_place(address_space& s, const area& a, const remap_request& r) {
  const uintptr_t end = r.start + r.new_bytes;
  return a.end == r.old_end && in_app_range(r.start, r.new_bytes) && !s.overlaps(r.old_end, end);
}

result<void> grow(address_space& s, area& a, uintptr_t end) {
  area* more = TRY(make<area>(a.end, end, a.prot, a.flags)).release();
  if (a.source) {
    more->source = a.source;
    more->source->add_reference();
    more->offset = a.offset + (a.end - a.start);
  }
  more->next_fault = a.next_fault;
  s.insert(*more);
  return {};
}

result<uintptr_t> move(address_space& s, area& a, const remap_request& r) {
  unique<area> made = TRY(make<area>(uintptr_t{0}, uintptr_t{0}, a.prot, a.flags));
  uintptr_t to = r.target;
  if (!r.fixed) {
    // Large pages move as they are if the place within 2 MB stays.
    const bool large = r.new_bytes >= large_page_size && !a.source;
    to = s.find_gap(r.new_bytes, large ? large_page_size : page_size,
                    large ? r.start % large_page_size : 0, false);
    if (!to)
      return error::nomem;
  }
  const size_t old_bytes = r.old_end - r.start;
  if (a.source) {
    made->source = a.source;
    made->source->add_reference();
    made->offset = a.offset + (r.start - a.start);
  }
  const uintptr_t next_fault = a.next_fault - r.start + to;
  auto done = [&]() -> result<void> {
    TRY(s.split(r.start));
    TRY(s.split(r.old_end));
    return arch::move_range(r.start, to, min_of(old_bytes, r.new_bytes));
  }();
  if (!done.ok()) {
    s.merge_around(r.start, r.old_end);
    return done.code();
  }
  s.forget(r.start, r.old_end);
  area& moved = *made.release();
  moved.start = to;
  moved.end = to + r.new_bytes;
  moved.next_fault = next_fault;
  s.insert(moved);
  return to;
}

} // namespace

result<uintptr_t> remap(uintptr_t old_start, size_t old_bytes, size_t new_bytes, int flags,
                        uintptr_t new_start) {
  const bool fixed = flags & MREMAP_FIXED;
  const size_t old_size = align_up(old_bytes, page_size), new_size = align_up(new_bytes, page_size);
  if ((flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED)) || (fixed && !(flags & MREMAP_MAYMOVE)) ||
      old_start % page_size || new_size == 0 || new_size < new_bytes || old_size == 0 ||
      old_size < old_bytes || !in_app_range(old_start, old_size))
    return error::inval;
  if (fixed && (new_start % page_size || !in_app_range(new_start, new_size) ||
                (new_start < old_start + old_size && old_start < new_start + new_size)))
    return error::inval;
  remap_request r{old_start, old_start + old_size, new_size, (flags & MREMAP_MAYMOVE) != 0, fixed,
                  new_start};

  address_space& s = space();
  sched::lock_guard<sched::mutex> g(s.lock);
  area* a = s.find(old_start);
  if (!a || a->end < r.old_end)
    return error::fault;
  if (a->flags & area_sealed)
    return error::perm;
  if (fixed)
    TRY(s.cut(new_start, new_start + new_size));
  if (new_size < old_size) {
    TRY(s.cut(old_start + new_size, r.old_end));
    r.old_end = old_start + new_size;
  }
  // Cutting joins and parts areas: look again.
  a = s.find(old_start);
  if (!fixed && new_size <= old_size)
    return old_start;
  if (!fixed && can_grow_in_place(s, *a, r)) {
    TRY(grow(s, *a, old_start + new_size));
    return old_start;
  }
  if (!r.may_move)
    return error::nomem;
  return move(s, *a, r);
}

} // namespace oblako::mem
