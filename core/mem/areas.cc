// The mmap family over the tree of areas.
#include "core/mem/areas.hh"
#include "arch/x64/paging.hh"
#include "core/mem/address_space.hh"
#include "core/mem/frames.hh"

namespace oblako::mem {

namespace {

using guard = sched::lock_guard<sched::mutex>;

constexpr uint32_t all_protections = prot_read | prot_write | prot_exec;

// True if the request is plainly more than the machine could ever hold. What can be refused here is
// an error the application may handle; what is accepted may end it at a page fault.
bool absurd(size_t bytes) {
  return bytes > 2 * frame_usage().total_bytes + 64_MiB;
}

// Rounds a range up to pages. Errors: inval (start not on a page, range not the application's).
result<uintptr_t> end_of(uintptr_t start, size_t bytes) {
  const size_t rounded = align_up(bytes, page_size);
  if (start % page_size || rounded < bytes || !in_app_range(start, rounded))
    return error::inval;
  return start + rounded;
}

result<uintptr_t> place(address_space& s, const mapping_request& r, size_t bytes) {
  const bool hint_usable = r.hint % page_size == 0 && in_app_range(r.hint, bytes);
  if (r.fixed || r.no_replace) {
    if (r.hint % page_size)
      return error::inval;
    if (!hint_usable)
      return r.hint < app_range_start ? error::perm : error::nomem;
    if (r.no_replace && s.overlaps(r.hint, r.hint + bytes))
      return error::exist;
    return r.hint;
  }
  if (r.hint && hint_usable && !s.overlaps(r.hint, r.hint + bytes))
    return r.hint;
  const bool may_be_large = !r.source && !r.stack && bytes >= large_page_size;
  const uintptr_t start = s.find_gap(bytes, may_be_large ? large_page_size : page_size, 0, r.stack);
  if (!start)
    return error::nomem;
  return start;
}

} // namespace

result<void> add_image_area(uintptr_t start, size_t bytes, uint32_t prot) {
  address_space& s = space();
  guard g(s.lock);
  const uintptr_t first = align_down(start, page_size), end = align_up(start + bytes, page_size);
  const uint8_t kind = prot & prot_write ? 0 : prot & prot_exec ? area_text : area_constant;
  auto* a = TRY(make<area>(first, end, prot, static_cast<uint8_t>(area_image | kind))).release();
  s.enter(*a);
  s.break_start = s.break_end = max_of(s.break_start, end);
  return {};
}

result<uintptr_t> add_first_stack(size_t bytes) {
  constexpr uintptr_t start = mapping_base + stack_guard;
  address_space& s = space();
  guard g(s.lock);
  auto* a =
      TRY(make<area>(start, start + bytes, uint32_t{prot_read | prot_write}, area_stack)).release();
  a->next_fault = start;
  s.enter(*a);
  return start;
}

void set_image_frames(phys_addr start, phys_addr end) {
  address_space& s = space();
  guard g(s.lock);
  s.image_frames_start = start;
  s.image_frames_end = end;
}

result<uintptr_t> map(const mapping_request& r) {
  const size_t bytes = align_up(r.bytes, page_size);
  if (r.bytes == 0)
    return error::inval;
  if (bytes < r.bytes || bytes > app_range_end)
    return error::nomem;
  if (r.prot != prot_none && !r.no_reserve && absurd(bytes))
    return error::nomem;
  const uint8_t flags = r.stack ? area_stack : 0;
  TRY(check_protection(flags, r.prot));
  unique<area> made = TRY(make<area>(uintptr_t{0}, uintptr_t{0}, r.prot & all_protections, flags));
  uintptr_t start;
  {
    address_space& s = space();
    guard g(s.lock);
    start = TRY(place(s, r, bytes));
    TRY(s.cut(start, start + bytes));
    area& a = *made.release();
    a.start = a.next_fault = start;
    a.end = start + bytes;
    if (r.source) {
      r.source->add_reference();
      a.source = r.source;
      a.offset = r.offset;
    }
    s.insert(a);
  }
  if (r.populate && r.prot != prot_none)
    (void)populate(start, start + bytes).ok(); // mmap succeeds all the same
  return start;
}

result<void> unmap(uintptr_t start, size_t bytes) {
  if (bytes == 0)
    return error::inval;
  const uintptr_t end = TRY(end_of(start, bytes));
  address_space& s = space();
  guard g(s.lock);
  return s.cut(start, end);
}

result<void> protect(uintptr_t start, size_t bytes, uint32_t prot) {
  if (prot & ~all_protections)
    return error::inval;
  if (start % page_size)
    return error::inval;
  if (bytes == 0)
    return {};
  auto range = end_of(start, bytes);
  if (!range.ok())
    return error::nomem;
  const uintptr_t end = range.value();
  address_space& s = space();
  guard g(s.lock);
  if (!s.covered(start, end))
    return error::nomem;
  for (area* a = s.first_behind(start); a && a->start < end; a = s.after(*a))
    TRY(check_protection(a->flags, prot));
  auto done = [&]() -> result<void> {
    TRY(s.split(start));
    TRY(s.split(end));
    return arch::protect_range(start, end, page_flags_for(prot));
  }();
  if (done.ok())
    for (area* a = s.first_behind(start); a && a->start < end; a = s.after(*a))
      a->prot = prot;
  s.merge_around(start, end);
  return done;
}

result<uintptr_t> set_break(uintptr_t new_break) {
  address_space& s = space();
  guard g(s.lock);
  const uintptr_t old_end = align_up(s.break_end, page_size);
  const uintptr_t new_end = align_up(new_break, page_size);
  if (new_break < s.break_start || !in_app_range(s.break_start, new_end - s.break_start))
    return s.break_end;
  if (new_end < old_end) {
    if (!s.cut(new_end, old_end).ok())
      return s.break_end;
  } else if (new_end > old_end) {
    if (absurd(new_end - old_end) || s.overlaps(old_end, new_end + page_size))
      return s.break_end;
    auto made = make<area>(old_end, new_end, uint32_t{prot_read | prot_write}, area_heap);
    if (!made.ok())
      return s.break_end;
    s.insert(*made.value().release());
  }
  s.break_end = new_break;
  return new_break;
}

area_statistics area_usage() {
  address_space& s = space();
  guard g(s.lock);
  return {s.mapped_bytes, s.resident_pages * page_size};
}

void for_each_area(void (*f)(uintptr_t, uintptr_t, uint32_t, const char*, void*), void* context) {
  address_space& s = space();
  guard g(s.lock);
  for (area* a = s.first_behind(0); a; a = s.after(*a)) {
    const char* name = a->flags & area_heap ? "[heap]" : a->flags & area_stack ? "[stack]" : "";
    f(a->start, a->end, a->prot, name, context);
  }
}

} // namespace oblako::mem
