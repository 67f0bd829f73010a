// madvise, and questions about ranges (mincore, msync).
#include "arch/x64/paging.hh"
#include "core/mem/address_space.hh"
#include "core/mem/areas.hh"
#include "core/mem/frames.hh"
#include <sys/mman.h>

namespace oblako::mem {

namespace {

// What was written goes, the next access finds zeros (or the file). The image keeps what it was
// loaded with: there is nothing to load it from again.
result<void> drop_pages(address_space& s, uintptr_t start, uintptr_t end) {
  for (area* a = s.first_behind(start); a && a->start < end; a = s.after(*a)) {
    if (a->flags & area_image)
      continue;
    a->next_fault = max_of(a->start, start);
    TRY(arch::unmap_range(max_of(a->start, start), min_of(a->end, end), release_app_frames));
  }
  return {};
}

result<void> set_flags(address_space& s, uintptr_t start, uintptr_t end, uint8_t set,
                       uint8_t clear) {
  TRY(s.split(start));
  TRY(s.split(end));
  for (area* a = s.first_behind(start); a && a->start < end; a = s.after(*a))
    a->flags = static_cast<uint8_t>((a->flags & ~clear) | set);
  s.merge_around(start, end);
  return {};
}

result<void> apply(address_space& s, uintptr_t start, uintptr_t end, int advice) {
  switch (advice) {
  case MADV_DONTNEED:
  case MADV_FREE:
    return drop_pages(s, start, end);
  case MADV_HUGEPAGE:
    return set_flags(s, start, end, area_huge, area_no_huge);
  case MADV_NOHUGEPAGE:
    return set_flags(s, start, end, area_no_huge, area_huge);
  default:
    return {};
  }
}

bool known(int advice) {
  switch (advice) {
  case MADV_NORMAL:
  case MADV_RANDOM:
  case MADV_SEQUENTIAL:
  case MADV_WILLNEED:
  case MADV_DONTNEED:
  case MADV_FREE:
  case MADV_DONTFORK:
  case MADV_DOFORK:
  case MADV_MERGEABLE:
  case MADV_UNMERGEABLE:
  case MADV_HUGEPAGE:
  case MADV_NOHUGEPAGE:
  case MADV_DONTDUMP:
  case MADV_DODUMP:
  case MADV_COLD:
  case MADV_PAGEOUT:
    return true;
  default:
    return false;
  }
}

} // namespace

result<void> advise(uintptr_t start, size_t bytes, int advice) {
  const size_t rounded = align_up(bytes, page_size);
  if (!known(advice) || start % page_size || rounded < bytes || start + rounded < start)
    return error::inval;
  if (rounded == 0)
    return {};
  if (!in_app_range(start, rounded))
    return error::nomem;
  address_space& s = space();
  sched::lock_guard<sched::mutex> g(s.lock);
  TRY(apply(s, start, start + rounded, advice));
  // Holes are reported, but only after the rest was served.
  if (!s.covered(start, start + rounded))
    return error::nomem;
  return {};
}

result<void> residence(uintptr_t start, size_t pages, uint8_t* out) {
  address_space& s = space();
  sched::lock_guard<sched::mutex> g(s.lock);
  if (!s.covered(start, start + pages * page_size))
    return error::nomem;
  for (size_t i = 0; i < pages; ++i)
    out[i] = arch::lookup(start + i * page_size).flags != 0;
  return {};
}

bool is_mapped(uintptr_t start, uintptr_t end) {
  address_space& s = space();
  sched::lock_guard<sched::mutex> g(s.lock);
  return s.covered(start, end);
}

} // namespace oblako::mem
