// Kernel virtual memory outside the direct map. Addresses are dealt out in slots of a stack and its
// guard page; a device takes as many neighbouring slots as it needs and keeps them.
#include "core/mem/kernel_map.hh"
#include "arch/x64/paging.hh"
#include "core/log/log.hh"
#include "core/mem/frames.hh"
#include "core/mem/heap.hh"
#include "core/sched/spinlock.hh"

namespace oblako::mem {

namespace {

constexpr size_t stack_pages = kernel_stack_size / page_size;
constexpr size_t slot_size = kernel_stack_size + page_size;

// The first slots lie in the gigabyte of the kernel image, whose upper tables exist anyway; the
// rest, for machines with many threads, in a range of their own.
constexpr uintptr_t near_start = 0xffffffffe0000000, near_end = 0xfffffffff0000000;
constexpr uintptr_t far_start = 0xffffc00000000000, far_end = 0xffffe00000000000;
constexpr uint64_t near_slots = (near_end - near_start) / slot_size;
constexpr uint64_t far_slots = (far_end - far_start) / slot_size;

// Stacks of threads that ended are kept, up to this many, for the next ones.
constexpr unsigned max_spare_stacks = 16;

struct device_mapping {
  device_mapping* next;
  uint64_t start, end; // physical, whole pages
  uintptr_t address;
};

sched::spinlock lock{sched::lock_rank::device};
// Guarded by `lock`.
uint64_t next_slot;
uintptr_t spare_stacks[max_spare_stacks]; // their tops
unsigned spare_count;
device_mapping* devices;

constexpr uintptr_t address_of_slot(uint64_t slot) {
  return slot < near_slots ? near_start + slot * slot_size
                           : far_start + (slot - near_slots) * slot_size;
}

// Neighbouring slots with nothing in them. A slot is in use if its last page is mapped: the first
// is a stack's guard page. The scan goes on where the last one ended, so it is short.
uintptr_t take_slots(uint64_t count) {
  for (;;) {
    if (next_slot < near_slots && next_slot + count > near_slots)
      next_slot = near_slots;
    if (next_slot + count > near_slots + far_slots)
      next_slot = 0;
    const uintptr_t start = address_of_slot(next_slot);
    bool empty = true;
    for (uint64_t i = 1; empty && i <= count; ++i)
      empty = arch::lookup(start + i * slot_size - page_size).flags == 0;
    next_slot += empty ? count : 1;
    if (empty)
      return start;
  }
}

constexpr uint64_t stack_flags =
    arch::page_present | arch::page_writable | arch::page_global | arch::page_no_execute;
constexpr uint64_t device_flags = stack_flags | arch::page_uncached;

void unmap_stack(uintptr_t start, size_t pages) {
  // Never splits a large page, so it cannot fail.
  (void)arch::unmap_range(start, start + pages * page_size, free_frames).ok();
}

} // namespace

result<volatile void*> map_device(phys_addr start, size_t bytes) {
  const uint64_t first = align_down(raw(start), page_size);
  const uint64_t end = align_up(raw(start) + bytes, page_size);
  sched::thread_spinlock_guard guard(lock);
  for (device_mapping* d = devices; d; d = d->next)
    if (first >= d->start && end <= d->end)
      return reinterpret_cast<volatile void*>(d->address + (raw(start) - d->start));

  void* memory = allocate(sizeof(device_mapping));
  if (!memory)
    return error::nomem;
  const uintptr_t address = take_slots((end - first + slot_size - 1) / slot_size);
  for (uint64_t at = 0; at < end - first; at += page_size) {
    if (auto r = arch::map_page(address + at, phys_addr{first + at}, device_flags); !r.ok()) {
      release(memory); // what is mapped stays: its slots are not used again, nobody knows it
      return r.code();
    }
  }
  devices = ::new (memory) device_mapping{devices, first, end, address};
  return reinterpret_cast<volatile void*>(address + (raw(start) - first));
}

result<uintptr_t> allocate_kernel_stack() {
  sched::thread_spinlock_guard guard(lock);
  if (spare_count)
    return spare_stacks[--spare_count];
  const uintptr_t bottom = take_slots(1) + page_size;
  for (size_t i = 0; i < stack_pages; ++i) {
    auto frame = allocate_frames(0);
    result<void> mapped = frame.ok()
                              ? arch::map_page(bottom + i * page_size, frame.value(), stack_flags)
                              : result<void>(error::nomem);
    if (!mapped.ok()) {
      if (frame.ok())
        free_frames(frame.value(), 0);
      unmap_stack(bottom, i);
      return error::nomem;
    }
  }
  return bottom + kernel_stack_size;
}

void free_kernel_stack(uintptr_t top) {
  sched::thread_spinlock_guard guard(lock);
  if (spare_count < max_spare_stacks) {
    spare_stacks[spare_count++] = top;
    return;
  }
  unmap_stack(top - kernel_stack_size, stack_pages);
}

} // namespace oblako::mem
