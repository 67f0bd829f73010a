// sources: core/mem/heap.cc core/mem/frames.cc core/mem/frame_blocks.cc arch/x64/direct_map.cc
// sources: core/mem/buffer_account.cc
// The kernel heap: alignment, contents kept, memory given back, failure at every point.
#include "core/mem/heap.hh"
#include "tests/unit/memory_arena.hh"
#include <map>
#include <random>
#include <vector>

using namespace oblako;
using namespace oblako::mem;
using namespace oblako::test;

namespace {

void start(uint64_t bytes = 64_MiB) {
  make_physical_memory(bytes);
  add_free_extent(phys_addr{1_MiB}, bytes - 1_MiB);
}

uint64_t used() {
  return frame_usage().total_bytes - frame_usage().free_bytes;
}

ISOLATED_TEST(heap, alignment) {
  start();
  for (size_t size = 1; size <= 20000; size += size < 300 ? 1 : 37) {
    auto p = reinterpret_cast<uintptr_t>(allocate(size));
    ASSERT_NE(p, 0u);
    EXPECT_EQ(p % 16, 0u);
    EXPECT_TRUE((size & (size - 1)) != 0 || size > page_size || p % size == 0) << size;
  }
}

ISOLATED_TEST(heap, contents_survive_random_work) {
  start();
  const uint64_t before = used();
  std::mt19937 random(3);
  std::map<uint8_t*, size_t> live;
  for (int i = 0; i < 50000; ++i) {
    if (!live.empty() && random() % 100 < (i / 10000 % 2 ? 60u : 45u)) {
      auto it = std::next(live.begin(), random() % live.size() % 64);
      for (size_t k = 0; k < it->second; ++k)
        ASSERT_EQ(it->first[k], static_cast<uint8_t>(it->second + 7));
      release(it->first);
      live.erase(it);
    } else {
      const size_t size = random() % 30 == 0 ? random() % 30000 : 1 + random() % 2048;
      auto* p = static_cast<uint8_t*>(random() % 2 ? allocate(size) : allocate_zeroed(size));
      ASSERT_NE(p, nullptr);
      memset(p, static_cast<uint8_t>(size + 7), size);
      ASSERT_TRUE(live.emplace(p, size).second);
    }
  }
  for (auto& [p, size] : live)
    release(p);
  constexpr unsigned size_classes = 23;
  // What stays: at most one slab a size class, the tags (1 kB for 64 pages), the block records.
  EXPECT_LE(heap_bytes_in_use(), size_classes * page_size);
  EXPECT_LE(used() - before, size_classes * page_size + 64 * page_size);
}

ISOLATED_TEST(heap, zeroed_is_zero) {
  start();
  auto* p = static_cast<uint8_t*>(allocate(500));
  memset(p, 0xff, 500);
  release(p);
  p = static_cast<uint8_t*>(allocate_zeroed(500));
  for (int i = 0; i < 500; ++i)
    ASSERT_EQ(p[i], 0);
}

// What an object costs in page frames, tags included: the figure the documents quote.
ISOLATED_TEST(heap, cost_per_object) {
  start(256_MiB);
  release(allocate(16)); // the first tables and records
  for (size_t size : {16, 24, 32, 48, 64, 100, 128, 200, 256, 500, 512, 700, 1000, 1024, 2048}) {
    const uint64_t before = used();
    constexpr unsigned n = 20000;
    for (unsigned i = 0; i < n; ++i)
      ASSERT_NE(allocate(size), nullptr);
    const double cost = double(used() - before) / n;
    fprintf(stderr, "object of %zu bytes costs %.1f\n", size, cost);
    // Rounding to the size class, and 16 bytes of tag a page.
    EXPECT_LE(cost, size * (size <= 32 ? 1.6 : size <= 512 ? 1.2 : 1.35)) << size;
    EXPECT_TRUE((size & (size - 1)) != 0 || cost <= size * 1.03) << size;
  }
}

ISOLATED_TEST(heap, out_of_memory_is_nullptr_and_recovers) {
  start(4_MiB);
  for (size_t size : {16, 800, 5000, 20000}) {
    std::vector<void*> all;
    while (void* p = allocate(size))
      all.push_back(p);
    EXPECT_GE(all.size() * size, 1_MiB + 512_KiB) << size;
    for (void* p : all)
      release(p);
  }
  EXPECT_EQ(allocate(100_MiB), nullptr);
}

// With only n pages of memory, for every n, the same work must fail cleanly and leave all usable.
ISOLATED_TEST(heap, fails_at_every_page) {
  start(8_MiB);
  auto hoard = allocate_all(0);
  size_t last_done = 0;
  for (size_t pages = 0; pages < 250; ++pages) {
    std::vector<void*> got;
    for (size_t i = 1; i < 150; ++i)
      if (void* p = allocate(i * 37 % 9000)) {
        memset(p, 1, i * 37 % 9000);
        got.push_back(p);
      }
    EXPECT_GE(got.size(), last_done);
    last_done = got.size();
    for (void* p : got)
      release(p);
    free_frames(hoard.back(), 0);
    hoard.pop_back();
  }
  EXPECT_EQ(last_done, 149u);
}

struct probe : counted {
  explicit probe(int& c) : alive(c) { ++alive; }
  ~probe() override { --alive; }
  int& alive;
};

ISOLATED_TEST(heap, references) {
  start();
  int alive = 0;
  {
    auto made = make_shared<probe>(alive);
    ASSERT_TRUE(made.ok());
    ref<probe> a = made.take();
    ref<probe> b = a;
    EXPECT_EQ(a->references(), 2u);
    a = ref<probe>();
    EXPECT_EQ(alive, 1);
  }
  EXPECT_EQ(alive, 0);
  {
    auto u = make<probe>(alive);
    ASSERT_TRUE(u.ok());
    unique<probe> owner = u.take();
    EXPECT_EQ(alive, 1);
  }
  EXPECT_EQ(alive, 0);
}

TEST(heap, releasing_twice_is_noticed) {
  EXPECT_DEATH(
      {
        start();
        void* p = allocate(5000);
        release(p);
        release(p);
      },
      "assertion failed");
}

} // namespace
