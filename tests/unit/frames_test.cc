// sources: core/mem/frames.cc core/mem/frame_blocks.cc arch/x64/direct_map.cc
// sources: core/mem/buffer_account.cc
// The frame allocator over an arena: nothing handed out twice, nothing lost, whole blocks kept.
#include "arch/x64/image_tables.hh"
#include "tests/unit/memory_arena.hh"
#include <map>
#include <random>
#include <vector>

using namespace oblako;
using namespace oblako::mem;
using namespace oblako::test;

namespace {

// Remembers what is out, and checks every answer against it.
class checker {
public:
  void add_extent(uint64_t start, uint64_t bytes) {
    add_free_extent(phys_addr{start}, bytes);
    extents_[start] = start + bytes;
  }
  bool allocate(size_t pages, bool contiguous = false) {
    unsigned order = 0;
    while ((size_t{1} << order) < pages)
      ++order;
    auto r = contiguous ? allocate_contiguous(pages) : allocate_frames(order);
    if (!r.ok()) {
      EXPECT_EQ(r.code(), error::nomem);
      return false;
    }
    const uint64_t start = raw(r.value());
    const uint64_t bytes = contiguous ? pages * page_size : page_size << order;
    EXPECT_TRUE(contiguous || start % bytes == 0);
    auto e = extents_.upper_bound(start);
    EXPECT_NE(e, extents_.begin());
    EXPECT_LE(start + bytes, std::prev(e)->second);
    auto next = out_.lower_bound(start);
    EXPECT_TRUE(next == out_.end() || start + bytes <= next->first);
    EXPECT_TRUE(next == out_.begin() ||
                std::prev(next)->first + std::prev(next)->second.bytes <= start);
    out_[start] = {bytes, order, contiguous};
    *static_cast<uint64_t*>(to_virtual(r.value())) = start;
    return true;
  }
  void free_nth(size_t n) { free(std::next(out_.begin(), n)); }
  void free_all() {
    while (!out_.empty())
      free(out_.begin());
  }
  size_t count() const { return out_.size(); }

private:
  struct piece {
    uint64_t bytes;
    unsigned order;
    bool contiguous;
  };
  void free(std::map<uint64_t, piece>::iterator i) {
    EXPECT_EQ(*static_cast<uint64_t*>(to_virtual(phys_addr{i->first})), i->first);
    if (i->second.contiguous)
      free_contiguous(phys_addr{i->first}, i->second.bytes / page_size);
    else
      free_frames(phys_addr{i->first}, i->second.order);
    out_.erase(i);
  }
  std::map<uint64_t, uint64_t> extents_;
  std::map<uint64_t, piece> out_;
};

unsigned count_large() {
  const auto got = allocate_all(9);
  for (auto p : got)
    free_frames(p, 9);
  return got.size();
}

ISOLATED_TEST(frames, nothing_before_the_first_extent) {
  make_physical_memory(4_MiB);
  EXPECT_FALSE(allocate_frames(0).ok());
  EXPECT_FALSE(allocate_contiguous(3).ok());
}

ISOLATED_TEST(frames, every_page_comes_once_and_comes_back) {
  make_physical_memory(16_MiB);
  checker c;
  c.add_extent(0x1000, 0x9f000 - 0x1000);
  c.add_extent(1_MiB + 0x3000, 15_MiB - 0x3000);
  const uint64_t total = frame_usage().total_bytes;
  EXPECT_EQ(total, 0x9e000 + 15_MiB - 0x3000);
  while (c.allocate(1)) {
  }
  EXPECT_EQ(frame_usage().free_bytes, 0u);
  // All but the tables of the direct map and the block records.
  EXPECT_GE(c.count() * page_size, total - 6 * page_size);
  const size_t n = c.count();
  c.free_all();
  EXPECT_EQ(frame_usage().free_bytes, n * page_size);
  while (c.allocate(1)) {
  }
  EXPECT_EQ(c.count(), n);
}

ISOLATED_TEST(frames, unaligned_extents_lose_only_their_fringes) {
  make_physical_memory(4_MiB);
  add_free_extent(phys_addr{0x10001}, 0x3000); // [0x11000, 0x13000)
  add_free_extent(phys_addr{0x20800}, 0xfff);  // nothing whole
  EXPECT_EQ(frame_usage().total_bytes, 2 * page_size);
}

ISOLATED_TEST(frames, tiny_extents_with_holes) {
  make_physical_memory(64_MiB);
  checker c;
  // The first gives room for tables and records, the others are two pages each, some in one block.
  c.add_extent(0x100000, 0x10000);
  for (uint64_t at = 2_MiB; at < 50_MiB; at += 700_KiB)
    c.add_extent(align_down(at, 2 * page_size), 2 * page_size);
  const size_t all = frame_usage().total_bytes / page_size;
  while (c.allocate(1)) {
  }
  EXPECT_GE(c.count() + 12, all);
  c.free_all();
  size_t pairs = 0;
  while (c.allocate(2))
    ++pairs;
  EXPECT_GE(pairs, 64u); // of 71
}

ISOLATED_TEST(frames, pages_alone_do_not_break_more_blocks_than_needed) {
  make_physical_memory(64_MiB);
  checker c;
  c.add_extent(2_MiB, 62_MiB);
  std::mt19937 random(1);
  for (int i = 0; i < 3000; ++i)
    c.allocate(1);
  for (int i = 0; i < 2500; ++i)
    c.free_nth(random() % c.count());
  for (int i = 0; i < 2500; ++i)
    c.allocate(1);
  // 3000 pages are six blocks; one more holds records and tables.
  EXPECT_GE(count_large(), 24u);
  c.free_all();
  EXPECT_GE(count_large(), 29u); // two hold records
}

ISOLATED_TEST(frames, contiguous_runs_across_blocks) {
  make_physical_memory(64_MiB);
  checker c;
  c.add_extent(1_MiB, 63_MiB);
  for (size_t pages : {1, 3, 17, 300, 511, 512, 513, 1500, 4096})
    EXPECT_TRUE(c.allocate(pages, true)) << pages;
  EXPECT_FALSE(c.allocate(4097, true));
  c.free_all();
  EXPECT_TRUE(c.allocate(4096, true)); // from blocks opened before
  c.free_all();
}

ISOLATED_TEST(frames, random_requests_against_a_model) {
  make_physical_memory(128_MiB);
  checker c;
  c.add_extent(0x1000, 0x9e000);
  c.add_extent(0x123000, 9_MiB);
  c.add_extent(12_MiB + 0x5000, 100_MiB);
  const uint64_t total = frame_usage().total_bytes;
  std::mt19937 random(7);
  for (int round = 0; round < 20000; ++round) {
    const bool shrink = frame_usage().free_bytes < total / 8 || (round / 2000) % 2;
    if (c.count() && random() % 8 < (shrink ? 5u : 3u))
      c.free_nth(random() % c.count());
    else if (random() % 16 == 0)
      c.allocate(1 + random() % 700, true);
    else
      c.allocate(size_t{1} << (random() % 10 * (random() % 2)));
  }
  c.free_all();
  EXPECT_GE(frame_usage().free_bytes + 12 * page_size, total);
  EXPECT_GE(count_large(), (total >> 21) - 4);
}

ISOLATED_TEST(frames, boot_does_not_grow_with_memory) {
  make_physical_memory(64_GiB);
  checker c;
  c.add_extent(1_MiB, 3_GiB - 1_MiB);
  c.add_extent(4_GiB, 60_GiB);
  for (int i = 0; i < 100; ++i)
    EXPECT_TRUE(c.allocate(1));
  // Two tables for the direct map, one page of records.
  EXPECT_EQ(frame_usage().total_bytes - frame_usage().free_bytes, 103 * page_size);
  // Memory above 4 GB is reached when the rest is used up.
  size_t large = 0;
  for (; allocate_frames(9).ok(); ++large) {
  }
  EXPECT_GE(large, 31 * 1024u);
}

uint64_t mapped_beside_image; // bytes

// In the blocks that the image lies in, memory is entered by 4 kB pages: a little at a time.
ISOLATED_TEST(frames, memory_beside_the_image_is_opened_in_pieces) {
  make_physical_memory(16_MiB);
  constexpr uint64_t image_end = 2_MiB + 0x63000;
  arch::host_image_blocks_end = 4_MiB;
  arch::map_beside_image = [](uint64_t start, uint64_t end) {
    EXPECT_EQ(start, image_end + mapped_beside_image);
    EXPECT_LE(end, 4_MiB);
    mapped_beside_image += end - start;
  };
  checker c;
  c.add_extent(image_end, 16_MiB - image_end);
  ASSERT_TRUE(c.allocate(1));
  EXPECT_EQ(mapped_beside_image, 2_MiB + 256_KiB * 2 - image_end);
  // More pages in a row than a piece has, and than the whole block has.
  ASSERT_TRUE(c.allocate(128));
  EXPECT_LE(mapped_beside_image, 1_MiB);
  ASSERT_TRUE(c.allocate(1024, true));
  while (c.allocate(1)) {
  }
  EXPECT_EQ(mapped_beside_image, 4_MiB - image_end);
  EXPECT_LT(frame_usage().free_bytes, page_size);
  c.free_all();
  EXPECT_TRUE(c.allocate(1024, true));
}

ISOLATED_TEST(frames, zeroed_when_asked) {
  make_physical_memory(4_MiB);
  add_free_extent(phys_addr{1_MiB}, 3_MiB);
  auto a = allocate_frames(3);
  memset(to_virtual(a.value()), 0xaa, 8 * page_size);
  free_frames(a.value(), 3);
  auto b = allocate_frames(3, zeroed::yes);
  ASSERT_TRUE(b.ok());
  const auto* bytes = static_cast<const uint8_t*>(to_virtual(b.value()));
  for (size_t i = 0; i < 8 * page_size; ++i)
    ASSERT_EQ(bytes[i], 0);
}

TEST(frames, freeing_twice_is_noticed) {
  EXPECT_DEATH(
      {
        make_physical_memory(4_MiB);
        add_free_extent(phys_addr{1_MiB}, 3_MiB);
        auto a = allocate_frames(0);
        free_frames(a.value(), 0);
        free_frames(a.value(), 0);
      },
      "assertion failed");
}

} // namespace
