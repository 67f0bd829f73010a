// sources: core/mem/kernel_map.cc core/mem/heap.cc core/mem/frames.cc core/mem/frame_blocks.cc
// sources: arch/x64/paging.cc arch/x64/direct_map.cc
// sources: core/mem/buffer_account.cc
// Kernel stacks and device mappings on simulated page tables.
#include "arch/x64/paging.hh"
#include "core/mem/kernel_map.hh"
#include "tests/unit/memory_arena.hh"
#include <set>

using namespace oblako;
using namespace oblako::mem;
using namespace oblako::test;

namespace {

uint64_t used() {
  return frame_usage().total_bytes - frame_usage().free_bytes;
}

void start(uint64_t bytes = 64_MiB) {
  make_physical_memory(bytes);
  add_free_extent(phys_addr{1_MiB}, bytes - 1_MiB);
  for (auto p : allocate_all(0))
    free_frames(p, 0);
}

ISOLATED_TEST(kernel_map, stacks_have_a_guard_page_and_memory_of_their_own) {
  start();
  std::set<uint64_t> frames;
  for (int i = 0; i < 50; ++i) {
    auto top = allocate_kernel_stack();
    ASSERT_TRUE(top.ok());
    EXPECT_EQ(*top % 16, 0u);
    for (uintptr_t page = *top - kernel_stack_size; page < *top; page += page_size) {
      const arch::mapping m = arch::lookup(page);
      EXPECT_EQ(m.flags & (arch::page_present | arch::page_writable | arch::page_no_execute),
                arch::page_present | arch::page_writable | arch::page_no_execute);
      EXPECT_TRUE(frames.insert(raw(m.frame)).second);
    }
    EXPECT_EQ(arch::lookup(*top - kernel_stack_size - page_size).flags, 0u);
  }
}

ISOLATED_TEST(kernel_map, freed_stacks_are_used_again_and_many_give_their_memory_back) {
  start();
  std::vector<uintptr_t> tops;
  for (int i = 0; i < 100; ++i)
    tops.push_back(allocate_kernel_stack().value());
  const uint64_t with_all = used();
  for (uintptr_t top : tops)
    free_kernel_stack(top);
  EXPECT_LE(used(), with_all - 80 * kernel_stack_size);
  std::set<uintptr_t> again;
  for (int i = 0; i < 100; ++i)
    EXPECT_TRUE(again.insert(allocate_kernel_stack().value()).second);
  EXPECT_LE(used(), with_all + page_size);
}

ISOLATED_TEST(kernel_map, more_stacks_than_the_near_range_holds) {
  start(1_GiB);
  std::set<uintptr_t> tops;
  for (int i = 0; i < 14000; ++i) {
    auto top = allocate_kernel_stack();
    ASSERT_TRUE(top.ok());
    ASSERT_TRUE(tops.insert(*top).second);
  }
  EXPECT_LT(*tops.begin(), 0xffffffffc0000000);
}

ISOLATED_TEST(kernel_map, out_of_memory_loses_nothing) {
  start(8_MiB);
  auto hoard = allocate_all(0);
  for (unsigned pages = 0; pages < 12; ++pages) {
    const uint64_t before = used();
    auto top = allocate_kernel_stack();
    if (top.ok())
      break;
    EXPECT_EQ(top.code(), error::nomem);
    EXPECT_EQ(used(), before);
    auto device = map_device(phys_addr{0xfee00000}, 4096);
    if (device.ok())
      break;
    // A slab for the record may stay.
    EXPECT_LE(used(), before + 2 * page_size);
    free_frames(hoard.back(), 0);
    hoard.pop_back();
  }
}

ISOLATED_TEST(kernel_map, a_device_page_is_mapped_once) {
  start();
  volatile void* apic = map_device(phys_addr{0xfee00000}, 4096).value();
  const arch::mapping m = arch::lookup(reinterpret_cast<uintptr_t>(apic));
  EXPECT_EQ(raw(m.frame), 0xfee00000u);
  EXPECT_EQ(m.flags & (arch::page_uncached | arch::page_no_execute),
            arch::page_uncached | arch::page_no_execute);
  EXPECT_EQ(map_device(phys_addr{0xfee00000}, 4).value(), apic);
  const auto at = reinterpret_cast<uintptr_t>(apic);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(map_device(phys_addr{0xfee00320}, 4).value()), at + 0x320);
  // A large one, and a stack behind it that must not lie in it.
  const auto bar = reinterpret_cast<uintptr_t>(map_device(phys_addr{0xfd000000}, 200000).value());
  const uintptr_t top = allocate_kernel_stack().value();
  EXPECT_TRUE(top <= bar || top - kernel_stack_size >= bar + 200000);
  EXPECT_EQ(raw(arch::lookup(bar + 45 * page_size).frame), 0xfd000000 + 45 * page_size);
}

} // namespace
