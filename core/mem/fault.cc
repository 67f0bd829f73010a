// The page-fault path: from an address to a mapped page. Anonymous pages come zeroed; a fault that
// continues where the last one of its area ended brings in several, and where memory is plentiful
// and the area large, a 2 MB page.
#include "arch/x64/paging.hh"
#include "core/mem/address_space.hh"
#include "core/mem/areas.hh"
#include "core/mem/buffer_account.hh"
#include "core/mem/frames.hh"
#include "core/sched/thread.hh"

namespace oblako::mem {

namespace {

constexpr unsigned max_window = 16;
constexpr size_t window_reserve = 4_MiB;      // free memory below which faults bring in one page
constexpr size_t large_page_reserve = 32_MiB; // and below which there are no large pages
constexpr size_t surely_large = 64_MiB;       // areas this large get large pages from the start

// How often buffers are given up for one page: others may take what became free.
constexpr unsigned most_reclaims = 4;

// Whether the page may be one of those that are kept for the kernel.
enum class from_reserve : bool { no, yes };

bool permitted(const area& a, fault_kind kind) {
  if (kind.write)
    return a.prot & prot_write;
  if (kind.fetch)
    return a.prot & prot_exec;
  return a.prot != prot_none;
}

// An area that is being filled from its start upwards, or is very large, or was said to want it.
// Sparse areas (stacks, arenas of which little is used) stay on small pages.
bool wants_large_page(const area& a, uintptr_t page) {
  if (a.flags & (area_stack | area_no_huge | area_image))
    return false;
  const uintptr_t start = align_down(page, large_page_size);
  if (start < a.start || start + large_page_size > a.end)
    return false;
  if (!(a.flags & area_huge) && a.end - a.start < surely_large) {
    if (page != start || start == a.start || !arch::lookup(start - page_size).flags)
      return false;
  }
  return memory_is_plentiful(large_page_reserve) && arch::large_slot_free(start);
}

bool fill_large(address_space& s, area& a, uintptr_t page) {
  auto frames = allocate_frames(9, zeroed::yes);
  if (!frames.ok())
    return false;
  const uintptr_t start = align_down(page, large_page_size);
  if (!arch::map_large_page(start, frames.value(), page_flags_for(a.prot)).ok()) {
    free_frames(frames.value(), 9);
    return false;
  }
  s.resident_pages += large_page_size / page_size;
  a.next_fault = start + large_page_size;
  return true;
}

// How many pages to bring in, all within one page table.
unsigned window_for(area& a, uintptr_t page) {
  if (page != a.next_fault) {
    a.window = 1;
    return 1;
  }
  if (a.window < max_window)
    a.window = static_cast<uint8_t>(a.window * 2);
  if (!memory_is_plentiful(window_reserve))
    return 1;
  const uintptr_t limit = min_of(a.end, align_down(page, large_page_size) + large_page_size);
  return static_cast<unsigned>(min_of<uintptr_t>(a.window, (limit - page) / page_size));
}

fault_outcome fill_small(address_space& s, area& a, uintptr_t page, from_reserve reserve) {
  if (reserve == from_reserve::no && !application_may_take_a_page()) [[unlikely]]
    return fault_outcome::out_of_memory;
  phys_addr frames[max_window];
  const unsigned got = allocate_pages(frames, window_for(a, page));
  const auto mapped =
      got ? arch::map_pages(page, frames, got, page_flags_for(a.prot)) : error::nomem;
  const unsigned used = mapped.ok() ? mapped.value() : 0;
  for (unsigned i = used; i < got; ++i)
    [[unlikely]] free_frames(frames[i], 0);
  s.resident_pages += used;
  a.next_fault = page + used * page_size;
  // None used and no error: somebody else brought the page in.
  return mapped.ok() ? fault_outcome::resolved : fault_outcome::out_of_memory;
}

// The page is mapped, and yet the access faulted: another thread was faster, or the area allows
// more than the page table does.
fault_outcome repair(const area& a, uintptr_t page) {
  if (!arch::protect_range(page, page + page_size, page_flags_for(a.prot)).ok())
    return fault_outcome::out_of_memory;
  return fault_outcome::resolved;
}

// A page of a file mapping. The source may wait for its file, so the lock is given up meanwhile;
// afterwards the area may be another one.
fault_outcome fill_from_source(address_space& s, area& a, uintptr_t page, from_reserve reserve) {
  page_source* source = a.source;
  const uint64_t offset = a.offset + (page - a.start);
  source->add_reference();
  s.lock.unlock();
  auto outcome = fault_outcome::out_of_memory;
  auto frame = reserve == from_reserve::yes || application_may_take_a_page() ? allocate_frames(0)
                                                                             : error::nomem;
  if (frame.ok())
    outcome = source->read_page(offset, to_virtual(frame.value())).ok() ? fault_outcome::resolved
                                                                        : fault_outcome::bus_error;
  s.lock.lock();
  area* now = s.find(page);
  bool used = false;
  if (outcome == fault_outcome::resolved && now && now->source == source &&
      now->offset + (page - now->start) == offset) {
    auto mapped = arch::map_page(page, frame.value(), page_flags_for(now->prot));
    used = mapped.ok();
    s.resident_pages += used;
    if (!used && mapped.code() == error::nomem)
      outcome = fault_outcome::out_of_memory;
  }
  if (frame.ok() && !used)
    free_frames(frame.value(), 0);
  source->drop_reference();
  return outcome;
}

// With the lock held.
fault_outcome resolve(address_space& s, uintptr_t address, fault_kind kind,
                      from_reserve reserve = from_reserve::no) {
  area* a = s.find(address);
  if (!a)
    return fault_outcome::bad_address;
  if (!permitted(*a, kind))
    return fault_outcome::bad_permission;
  const uintptr_t page = align_down(address, page_size);
  if (kind.present) [[unlikely]]
    return repair(*a, page);
  if (a->source) [[unlikely]]
    return fill_from_source(s, *a, page, reserve);
  if (a->end - a->start >= large_page_size && wants_large_page(*a, page) && fill_large(s, *a, page))
    return fault_outcome::resolved;
  return fill_small(s, *a, page, reserve);
}

} // namespace

fault_outcome handle_fault(uintptr_t address, fault_kind kind) {
  if (!in_app_range(address, 1))
    return fault_outcome::bad_address;
  address_space& s = space();
  auto reserve = from_reserve::no;
  for (unsigned tries = 0;; ++tries) {
    {
      sched::lock_guard<sched::mutex> g(s.lock);
      const fault_outcome outcome = resolve(s, address, kind, reserve);
      if (outcome != fault_outcome::out_of_memory || tries == most_reclaims || !reclaim_buffers)
          [[likely]]
        return outcome;
    }
    // Without the lock: reclaiming may wait for a thread that faults itself.
    switch (reclaim_buffers()) {
    case reclaimed::nothing:
      return fault_outcome::out_of_memory;
    case reclaimed::some:
      break;
    case reclaimed::not_now:
      reserve = from_reserve::yes; // few pages: the next fault outside makes up for it
      break;
    }
  }
}

result<void> populate(uintptr_t start, uintptr_t end) {
  address_space& s = space();
  for (uintptr_t page = start; page < end; page += page_size) {
    if (sched::killable_point().code() == error::intr)
      return error::intr;
    {
      sched::lock_guard<sched::mutex> g(s.lock);
      if (arch::lookup(page).flags)
        continue;
      area* a = s.find(page);
      if (!a)
        return error::nomem;
      const fault_kind kind{.present = false, .write = (a->prot & prot_write) != 0, .fetch = false};
      const fault_outcome outcome = resolve(s, page, kind);
      if (outcome == fault_outcome::out_of_memory || outcome == fault_outcome::bad_permission)
        return error::nomem;
    }
  }
  return {};
}

} // namespace oblako::mem
