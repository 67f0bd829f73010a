// sources: arch/x64/paging.cc arch/x64/direct_map.cc core/mem/frames.cc core/mem/frame_blocks.cc
// sources: core/mem/buffer_account.cc
// Page tables against a model: random mapping, unmapping, protecting, moving; no frame may be lost
// and every table must go when its last page goes.
#include "tests/unit/memory_arena.hh"
#include <map>
#include <random>

using namespace oblako;
using namespace oblako::arch;
using namespace oblako::test;

namespace {

constexpr uint64_t rw = page_present | page_writable | page_no_execute;
constexpr uint64_t rx = page_present;
constexpr uint64_t permissions = page_present | page_writable | page_no_execute;

uint64_t used() {
  return mem::frame_usage().total_bytes - mem::frame_usage().free_bytes;
}

void start() {
  make_physical_memory(256_MiB);
  mem::add_free_extent(phys_addr{1_MiB}, 255_MiB);
  // Touch all of it, so that the direct map and the block records exist.
  for (auto p : allocate_all(9))
    mem::free_frames(p, 9);
  for (auto p : allocate_all(0))
    mem::free_frames(p, 0);
}

// What should be mapped: 4 kB pages by address.
struct expected {
  phys_addr frame;
  uint64_t flags;
};
using model = std::map<uintptr_t, expected>;

void check(const model& m, uintptr_t va) {
  const mapping got = lookup(va);
  auto want = m.find(va);
  if (want == m.end()) {
    EXPECT_EQ(got.flags, 0u) << std::hex << va;
    return;
  }
  EXPECT_NE(got.flags, 0u) << std::hex << va;
  const uint64_t in_page = got.large ? va % large_page_size : 0;
  EXPECT_EQ(raw(got.frame) + in_page, raw(want->second.frame)) << std::hex << va;
  EXPECT_EQ(got.flags & permissions, want->second.flags & permissions) << std::hex << va;
}

constexpr uintptr_t regions[] = {0x400000, 0x7f0000000000 - 8 * large_page_size,
                                 0x40000000 - 0x600000};

ISOLATED_TEST(paging, one_page_and_its_tables) {
  start();
  const uint64_t before = used();
  auto frame = mem::allocate_frames(0).value();
  ASSERT_TRUE(map_page(0x123456789000, frame, rw).ok());
  EXPECT_EQ(used() - before, 4 * page_size); // the page and three tables
  EXPECT_EQ(raw(lookup(0x123456789000).frame), raw(frame));
  EXPECT_EQ(lookup(0x12345678a000).flags, 0u);
  // The bits the CPU reads, by the manual rather than by our accessors.
  uint64_t e = host_root[0x123456789000 >> 39 & 511];
  for (int shift : {30, 21}) {
    EXPECT_EQ(e & 3, 3u);
    e = static_cast<uint64_t*>(
        mem::to_virtual(phys_addr{e & 0xffffffffff000}))[0x123456789000 >> shift & 511];
  }
  e = static_cast<uint64_t*>(
      mem::to_virtual(phys_addr{e & 0xffffffffff000}))[0x123456789000 >> 12 & 511];
  EXPECT_EQ(e, raw(frame) | 0x8000000000000063);
  ASSERT_TRUE(unmap_range(0x123456789000, 0x12345678a000, mem::free_frames).ok());
  EXPECT_EQ(used(), before);
  EXPECT_EQ(host_root[0x123456789000 >> 39 & 511], 0u);
}

ISOLATED_TEST(paging, an_empty_terabyte_costs_nothing) {
  start();
  const uint64_t before = used();
  EXPECT_TRUE(unmap_range(0x10000000000, 0x300000000000, mem::free_frames).ok());
  EXPECT_TRUE(protect_range(0x10000000000, 0x300000000000, rx).ok());
  EXPECT_TRUE(move_range(0x10000000000, 0x300000000000, 1_GiB).ok());
  EXPECT_EQ(used(), before);
}

ISOLATED_TEST(paging, a_page_without_access_keeps_its_frame) {
  start();
  auto frame = mem::allocate_frames(0).value();
  ASSERT_TRUE(map_page(0x500000, frame, rw).ok());
  ASSERT_TRUE(protect_range(0x500000, 0x501000, 0).ok());
  EXPECT_EQ(lookup(0x500000).flags & page_present, 0u);
  EXPECT_EQ(raw(lookup(0x500000).frame), raw(frame));
  ASSERT_TRUE(protect_range(0x500000, 0x501000, rw).ok());
  EXPECT_EQ(lookup(0x500000).flags & permissions, rw);
}

ISOLATED_TEST(paging, a_large_page_moves_whole_or_in_pieces) {
  start();
  const uint64_t before = used();
  const phys_addr frames = mem::allocate_frames(9).value();
  ASSERT_TRUE(map_large_page(0x40000000, frames, rw).ok());
  ASSERT_TRUE(move_range(0x40000000, 0x80200000, large_page_size).ok());
  EXPECT_TRUE(lookup(0x80200000).large);
  EXPECT_EQ(lookup(0x40000000).flags, 0u);
  ASSERT_TRUE(move_range(0x80200000, 0x50003000, large_page_size).ok());
  EXPECT_EQ(lookup(0x50000000).flags, 0u);
  for (uintptr_t at = 0; at < large_page_size; at += page_size)
    ASSERT_EQ(raw(lookup(0x50003000 + at).frame), raw(frames) + at);
  EXPECT_EQ(lookup(0x50003000 + large_page_size).flags, 0u);
  EXPECT_EQ(lookup(0x80200000).flags, 0u);
  ASSERT_TRUE(unmap_range(0x50000000, 0x50400000, mem::free_frames).ok());
  EXPECT_EQ(used(), before);
}

ISOLATED_TEST(paging, random_work_against_a_model) {
  start();
  const uint64_t before = used();
  std::mt19937 random(11);
  model m;
  constexpr size_t pages = 4 * 512;
  auto somewhere = [&] { return regions[random() % 3] + random() % pages * page_size; };
  for (int round = 0; round < 6000; ++round) {
    const uintptr_t va = somewhere();
    const uintptr_t region_end = [&] {
      for (uintptr_t r : regions)
        if (va >= r && va < r + pages * page_size)
          return r + pages * page_size;
      return va;
    }();
    const size_t limit = (region_end - va) / page_size;
    const size_t n = 1 + random() % min_of<size_t>(limit, random() % 8 ? 40 : 1200);
    const uintptr_t end = va + n * page_size;
    switch (random() % 6) {
    case 0: // fill what is empty
    case 1:
      for (uintptr_t at = va; at < min_of(end, va + 64 * page_size); at += page_size)
        if (!m.count(at)) {
          auto frame = mem::allocate_frames(0);
          if (!frame.ok())
            break;
          ASSERT_TRUE(map_page(at, frame.value(), rw).ok());
          m[at] = {frame.value(), rw};
        }
      break;
    case 2: { // a large page, if its slot is empty
      const uintptr_t at = align_down(va, large_page_size);
      auto next = m.lower_bound(at);
      if ((next != m.end() && next->first < at + large_page_size) || random() % 4)
        break;
      auto frame = mem::allocate_frames(9);
      if (!frame.ok())
        break;
      ASSERT_TRUE(map_large_page(at, frame.value(), rw).ok());
      for (size_t i = 0; i < 512; ++i)
        m[at + i * page_size] = {frame.value() + i * page_size, rw};
      break;
    }
    case 3:
      ASSERT_TRUE(unmap_range(va, end, mem::free_frames).ok());
      m.erase(m.lower_bound(va), m.lower_bound(end));
      break;
    case 4: {
      const uint64_t flags = random() % 3 == 0 ? 0 : random() % 2 ? rw : rx;
      ASSERT_TRUE(protect_range(va, end, flags).ok());
      for (auto i = m.lower_bound(va); i != m.lower_bound(end); ++i)
        i->second.flags = flags;
      break;
    }
    case 5: { // move into a scratch range and take it from there next time
      const uintptr_t to =
          0x200000000000 + (random() % 2 ? va % large_page_size : random() % 512 * page_size);
      ASSERT_TRUE(move_range(va, to, end - va).ok());
      model moved;
      for (auto i = m.lower_bound(va); i != m.lower_bound(end); ++i)
        moved[i->first - va + to] = i->second;
      m.erase(m.lower_bound(va), m.lower_bound(end));
      for (uintptr_t at = to; at < to + (end - va); at += page_size)
        check(moved, at);
      ASSERT_TRUE(move_range(to, va, end - va).ok());
      for (auto& [at, e] : moved)
        m[at - to + va] = e;
      break;
    }
    }
    for (int i = 0; i < 20; ++i)
      check(m, somewhere());
    if (testing::Test::HasFailure())
      FAIL() << "in round " << round;
  }
  for (uintptr_t r : regions)
    for (size_t i = 0; i < pages; ++i)
      check(m, r + i * page_size);
  for (uintptr_t r : regions)
    ASSERT_TRUE(unmap_range(r, r + pages * page_size, mem::free_frames).ok());
  EXPECT_EQ(used(), before);
}

// With k free pages, for every k: an operation either succeeds or leaves all as it was.
ISOLATED_TEST(paging, out_of_memory_changes_nothing) {
  start();
  auto large = mem::allocate_frames(9).value();
  ASSERT_TRUE(map_large_page(0x40000000, large, rw).ok());
  auto hoard = allocate_all(0);
  const uint64_t full = used();
  for (size_t k = 0; k < 8; ++k) {
    for (size_t i = 0; i < k; ++i)
      mem::free_frames(hoard[i], 0);
    auto checked = [&](auto operation, auto undo) {
      const uint64_t before = used();
      if (!operation().ok())
        EXPECT_EQ(used(), before) << k;
      else
        undo();
      EXPECT_EQ(used(), before) << k;
    };
    checked([&] { return map_page(0x100000000000, hoard[100], rw); },
            [&] {
              (void)unmap_range(0x100000000000, 0x100000001000, [](phys_addr, unsigned) {}).ok();
            });
    checked([&] { return move_range(0x40000000, 0x100000000000, large_page_size); },
            [&] { EXPECT_TRUE(move_range(0x100000000000, 0x40000000, large_page_size).ok()); });
    EXPECT_EQ(raw(lookup(0x40000000).frame), raw(large));
    EXPECT_TRUE(lookup(0x40000000).large);
    for (size_t i = 0; i < k; ++i)
      ASSERT_TRUE(mem::allocate_frames(0).ok());
    EXPECT_EQ(used(), full);
    EXPECT_EQ(protect_range(0x40000000, 0x40001000, rx).code(), error::nomem);
    EXPECT_TRUE(lookup(0x40000000).large);
    EXPECT_EQ(lookup(0x40000000).flags & permissions, rw);
  }
}

} // namespace
