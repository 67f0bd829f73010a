// System calls that ask about residence or wish for it: mlock family, mincore, msync. Nothing is
// ever swapped out, so locking means bringing the pages in.
#include "arch/x64/syscall_entry.hh"
#include "core/mem/app_memory.hh"
#include "core/mem/areas.hh"
#include "core/sched/thread.hh"
#include <errno.h>
#include <sys/mman.h>

namespace oblako {
namespace {

long lock_range(uintptr_t address, size_t bytes) {
  const uintptr_t start = align_down(address, page_size);
  const uintptr_t end = align_up(address + bytes, page_size);
  if (end < start)
    return -EINVAL;
  return mem::in_app_range(start, end - start) ? to_syscall(mem::populate(start, end)) : -ENOMEM;
}

long report_residence(uintptr_t start, uintptr_t end, uint8_t* app_vector) {
  uint8_t bytes[64];
  while (start < end) {
    const size_t pages = min_of(sizeof(bytes), (end - start) / page_size);
    if (!mem::residence(start, pages, bytes).ok())
      return -ENOMEM;
    if (!mem::copy_to_app(app_vector, bytes, pages).ok())
      return -EFAULT;
    start += pages * page_size;
    app_vector += pages;
    sched::yield_if_needed();
  }
  return 0;
}

} // namespace
} // namespace oblako

using namespace oblako;

OBLAKO_SYSCALL(sys_mlock, do_mlock);
extern "C" long do_mlock(uintptr_t address, size_t bytes) {
  return lock_range(address, bytes);
}

OBLAKO_SYSCALL(sys_mlock2, do_mlock2);
extern "C" long do_mlock2(uintptr_t address, size_t bytes, unsigned flags) {
  constexpr unsigned on_fault = 1; // MLOCK_ONFAULT: pages as they come
  if (flags & ~on_fault)
    return -EINVAL;
  return flags ? 0 : lock_range(address, bytes);
}

extern "C" long sys_munlock(uintptr_t, size_t) {
  return 0;
}
extern "C" long sys_munlockall() {
  return 0;
}
extern "C" long sys_mlockall(int flags) {
  constexpr int known = MCL_CURRENT | MCL_FUTURE | 4; // MCL_ONFAULT
  return flags == 0 || (flags & ~known) ? -EINVAL : 0;
}

OBLAKO_SYSCALL(sys_mincore, do_mincore);
extern "C" long do_mincore(uintptr_t address, size_t bytes, uint8_t* app_vector) {
  const size_t rounded = align_up(bytes, page_size);
  if (address % page_size)
    return -EINVAL;
  if (rounded < bytes || !mem::in_app_range(address, rounded))
    return -ENOMEM;
  return report_residence(address, address + rounded, app_vector);
}

// Private mappings have nothing to write back, and shared ones are read-only.
OBLAKO_SYSCALL(sys_msync, do_msync);
extern "C" long do_msync(uintptr_t address, size_t bytes, int flags) {
  const size_t rounded = align_up(bytes, page_size);
  if (address % page_size || (flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC)) ||
      (flags & (MS_ASYNC | MS_SYNC)) == (MS_ASYNC | MS_SYNC))
    return -EINVAL;
  if (rounded < bytes || !mem::in_app_range(address, rounded) ||
      !mem::is_mapped(address, address + rounded))
    return -ENOMEM;
  return 0;
}
