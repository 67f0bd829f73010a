// sources: core/mem/buffer_account.cc core/mem/heap.cc core/mem/frames.cc core/mem/frame_blocks.cc
// sources: arch/x64/direct_map.cc
// The account of buffers: what is charged and discharged, what each may have, how short memory is.
#include "core/mem/buffer_account.hh"
#include "core/mem/heap.hh"
#include "tests/unit/memory_arena.hh"
#include <random>
#include <vector>

using namespace oblako;
using namespace oblako::mem;
using namespace oblako::test;

namespace {

constexpr size_t least = 2920;

void start(uint64_t bytes = 64_MiB) {
  make_physical_memory(bytes);
  add_free_extent(phys_addr{1_MiB}, bytes - 1_MiB);
}

// Takes page frames until only so many are left.
std::vector<phys_addr> leave_frames(uint64_t pages) {
  std::vector<phys_addr> taken;
  while (frame_counts.free > pages)
    taken.push_back(allocate_frames(0).value());
  return taken;
}

ISOLATED_TEST(buffer_account, has_every_page_of_buffers_and_no_other) {
  start();
  std::vector<void*> others;
  for (int i = 0; i < 1000; ++i)
    others.push_back(allocate(304));
  EXPECT_EQ(buffers.held(), 0u);
  std::vector<void*> objects;
  for (int i = 0; i < 13 * 10; ++i) // 13 of this size fit a page
    objects.push_back(allocate_buffer(304));
  EXPECT_EQ(buffers.held(), 10 * page_size);
  void* large = allocate_buffer(5 * page_size + 1);
  void* zeroed = allocate_buffer_zeroed(3 * page_size);
  EXPECT_EQ(buffers.held(), 19 * page_size);
  others.push_back(allocate(5 * page_size));
  EXPECT_EQ(buffers.held(), 19 * page_size);
  release(large);
  release(zeroed);
  EXPECT_EQ(buffers.held(), 10 * page_size);
  for (void* o : others)
    release(o);
  EXPECT_EQ(buffers.held(), 10 * page_size);
  for (void* o : objects)
    release(o);
  EXPECT_EQ(buffers.held(), page_size); // a class keeps its last slab
}

// One object left in each page holds all of it: that is what memory has lost.
ISOLATED_TEST(buffer_account, counts_what_fragmentation_holds) {
  start();
  std::vector<void*> objects;
  for (int i = 0; i < 16 * 64; ++i)
    objects.push_back(allocate_buffer(256));
  for (int i = 0; i < 16 * 64; ++i)
    if (i % 16 != 0)
      release(objects[static_cast<size_t>(i)]);
  EXPECT_EQ(buffers.held(), 64 * page_size);
}

ISOLATED_TEST(buffer_account, is_even_after_random_work_in_too_little_memory) {
  start(4_MiB);
  std::mt19937 random(1);
  std::vector<void*> live;
  unsigned refused = 0;
  for (int i = 0; i < 40000; ++i) {
    if (!live.empty() && random() % 100 < (i / 5000 % 2 ? 70u : 30u)) {
      const size_t at = random() % live.size();
      release(live[at]);
      live[at] = live.back();
      live.pop_back();
    } else if (void* p = allocate_buffer(random() % 20 == 0 ? random() % 70000 : random() % 2048)) {
      live.push_back(p);
    } else {
      ++refused;
    }
    ASSERT_LE(buffers.held(), (frame_counts.total - frame_counts.free) * page_size);
  }
  EXPECT_NE(refused, 0u);
  for (void* p : live)
    release(p);
  EXPECT_LE(buffers.held(), 23 * page_size);
}

ISOLATED_TEST(buffer_account, shares_shrink_with_what_is_held) {
  start();
  const uint64_t pressure = frame_counts.total * page_size / 8;
  EXPECT_EQ(buffers.pressure(), pressure);
  EXPECT_EQ(buffers.share(least), pressure / 4);
  EXPECT_EQ(buffers.shortage(), 0u);
  buffers.charge(pressure / 2);
  EXPECT_EQ(buffers.share(least), pressure / 8);
  buffers.charge(pressure / 2 - 4 * least);
  EXPECT_EQ(buffers.share(least), least);
  EXPECT_FALSE(buffers.is_short());
  buffers.charge(4 * least);
  EXPECT_TRUE(buffers.is_short());
  EXPECT_EQ(buffers.shortage(), 1u);
  EXPECT_EQ(buffers.share(least), least);
  unsigned before = 1;
  for (uint64_t held = pressure; held < buffers.limit(); held += pressure / 64) {
    const unsigned now = buffers.shortage();
    ASSERT_TRUE(now == before || now == before + 1) << held;
    before = now;
    buffers.charge(pressure / 64);
  }
  EXPECT_EQ(buffers.shortage(), buffer_account::most_short);
  EXPECT_EQ(buffers.share(least), least);
  buffers.discharge(buffers.held());
  EXPECT_EQ(buffers.shortage(), 0u);
}

// However many there are that take all they may.
ISOLATED_TEST(buffer_account, greedy_queues_do_not_come_to_the_mark) {
  start();
  for (const unsigned count : {1u, 15u, 500u}) {
    std::vector<uint64_t> queues(count);
    for (int round = 0; round < 50; ++round)
      for (uint64_t& q : queues)
        if (const uint64_t share = buffers.share(0); q < share) {
          const uint64_t more = std::min<uint64_t>(share - q, 64_KiB);
          q += more;
          buffers.charge(more);
        }
    EXPECT_LE(buffers.held(), buffers.pressure()) << count;
    EXPECT_GT(buffers.held(), buffers.pressure() / 6) << count;
    buffers.discharge(buffers.held());
  }
}

// Page frames that the application has taken count as well, and the reserve is left alone.
ISOLATED_TEST(buffer_account, leaves_page_frames_to_the_application) {
  start();
  const uint64_t wanted = buffers.frames_wanted();
  EXPECT_EQ(wanted, frame_counts.reserve + frame_counts.total / 32);
  auto taken = leave_frames(wanted);
  EXPECT_FALSE(buffers.is_short());
  const size_t share = buffers.share(least);
  EXPECT_LT(share, (wanted - frame_counts.reserve) * page_size / 4);
  EXPECT_GT(share, least);
  taken.push_back(allocate_frames(0).value());
  EXPECT_TRUE(buffers.is_short());
  EXPECT_EQ(buffers.shortage(), 1u);
  unsigned before = 1;
  while (frame_counts.free > frame_counts.reserve) {
    taken.push_back(allocate_frames(0).value());
    const unsigned now = buffers.shortage();
    ASSERT_TRUE(now == before || now == before + 1);
    before = now;
  }
  EXPECT_EQ(buffers.shortage(), buffer_account::most_short);
  EXPECT_EQ(buffers.share(least), least);
  EXPECT_EQ(buffers.held(), 0u);
}

// Least shares, too, leave the application what it needs to go on.
ISOLATED_TEST(buffer_account, takes_no_page_of_the_last) {
  start();
  const uint64_t kept = frame_counts.reserve + frame_counts.total / 128;
  auto taken = leave_frames(kept + 3);
  unsigned pages = 0;
  while (allocate_buffer(page_size))
    ++pages;
  // Up to a thirty-second of memory it may have in any case.
  EXPECT_EQ(pages * page_size, align_up(buffers.pressure() / 4, page_size));
  free_frames(taken.back(), 0);
  EXPECT_NE(allocate(page_size), nullptr);
}

ISOLATED_TEST(buffer_account, ends_where_the_applications_pages_begin) {
  start();
  buffers.charge(buffers.pressure());
  const uint64_t kept = frame_counts.reserve + frame_counts.total / 128;
  while (allocate_buffer(page_size))
    ;
  EXPECT_LE(frame_counts.free, kept);
  EXPECT_GT(frame_counts.free, frame_counts.reserve + frame_counts.total / 256);
  EXPECT_TRUE(application_may_take_a_page());
}

} // namespace
