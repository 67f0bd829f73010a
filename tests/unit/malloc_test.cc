// sources: libc/malloc/malloc.cc libc/malloc/pages.cc libc/malloc/slabs.cc
// sources: libc/malloc/mappings.cc libc/malloc/far_aligned.cc
// The application's allocator on the host, beside the host's own: contents, alignment, threads,
// memory given back, exhaustion.
#include "libc/malloc/internal.hh"
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <gtest/gtest.h>
#include <map>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

using namespace oblako::allocator;

// musl's internal lock, as far as the allocator uses it.
extern "C" {
void __lock(volatile int* l) {
  while (__atomic_exchange_n(l, 1, __ATOMIC_ACQUIRE))
    std::this_thread::yield();
}
void __unlock(volatile int* l) {
  __atomic_store_n(l, 0, __ATOMIC_RELEASE);
}
void __malloc_thread_exit();
}

namespace {

// Stands in for the system: the mappings there are, which may be limited.
std::mutex system_lock;
std::map<uintptr_t, size_t> mappings; // merged never: every piece by its start
size_t mapped_bytes, mapping_limit = ~size_t{0};
bool giving_back_fails;

void note(uintptr_t start, size_t bytes) {
  mappings[start] = bytes;
  mapped_bytes += bytes;
}
void forget(uintptr_t start, size_t bytes) {
  const uintptr_t end = start + bytes;
  auto m = mappings.upper_bound(start);
  if (m != mappings.begin())
    --m;
  while (m != mappings.end() && m->first < end) {
    const uintptr_t s = m->first, e = s + m->second;
    auto next = std::next(m);
    if (e > start) {
      mapped_bytes -= m->second;
      mappings.erase(m);
      if (s < start)
        note(s, start - s);
      if (e > end)
        note(end, e - end);
    }
    m = next;
  }
}
size_t pages(size_t bytes) {
  return align_up(bytes, page_size);
}

// Of the allocator's memory, not of the test's.
size_t resident() {
  std::lock_guard g(system_lock);
  size_t count = 0;
  for (auto [start, bytes] : mappings) {
    std::vector<unsigned char> in(bytes / page_size);
    if (mincore(reinterpret_cast<void*>(start), bytes, in.data()))
      ADD_FAILURE() << "not mapped";
    for (unsigned char c : in)
      count += c & 1;
  }
  return count * page_size;
}

// Allocations filled with a pattern that depends on their address; every operation checks it.
class pool {
public:
  explicit pool(unsigned seed) : random_(seed) {}
  ~pool() {
    while (!blocks_.empty())
      drop(blocks_.size() - 1);
  }
  size_t size() const { return blocks_.size(); }
  size_t some_size() {
    switch (random_() % 20) {
    case 0:
      return random_() % 3000000;
    case 1:
    case 2:
      return random_() % 100000;
    case 3:
    case 4:
    case 5:
      return random_() % 9000;
    default:
      return random_() % 300;
    }
  }
  void add() {
    const size_t n = some_size();
    block b{nullptr, n, 16};
    switch (random_() % 6) {
    case 0: {
      b.alignment = size_t{1} << random_() % 14;
      b.p = static_cast<unsigned char*>(aligned_alloc(b.alignment, n));
      break;
    }
    case 1:
      b.p = static_cast<unsigned char*>(calloc(1, n));
      for (size_t i = 0; i < n; ++i)
        ASSERT_EQ(b.p[i], 0) << n;
      break;
    default:
      b.p = static_cast<unsigned char*>(malloc(n));
    }
    ASSERT_NE(b.p, nullptr);
    ASSERT_EQ(reinterpret_cast<uintptr_t>(b.p) % b.alignment, 0u);
    ASSERT_GE(malloc_usable_size(b.p), n);
    fill(b);
    blocks_.push_back(b);
  }
  void drop(size_t i) {
    check(blocks_[i]);
    free(blocks_[i].p);
    blocks_[i] = blocks_.back();
    blocks_.pop_back();
  }
  void drop_some() { drop(random_() % blocks_.size()); }
  void change_some() {
    block& b = blocks_[random_() % blocks_.size()];
    check(b);
    const size_t n = random_() % 3 ? b.size + random_() % (b.size / 4 + 20) : some_size();
    const unsigned char first = tag(b);
    auto* p = static_cast<unsigned char*>(realloc(b.p, n));
    ASSERT_NE(p, nullptr);
    for (size_t i = 0; i < std::min(n, b.size); ++i)
      ASSERT_EQ(p[i], static_cast<unsigned char>(first + i));
    b = {p, n, 16};
    fill(b);
  }
  void step(size_t limit) {
    const unsigned r = random_() % 10;
    if (blocks_.empty() || (r < 5 && blocks_.size() < limit))
      add();
    else if (r < 8)
      drop_some();
    else
      change_some();
  }

private:
  struct block {
    unsigned char* p;
    size_t size, alignment;
  };
  static unsigned char tag(const block& b) {
    return static_cast<unsigned char>(reinterpret_cast<uintptr_t>(b.p) / 16 + b.size);
  }
  static void fill(const block& b) {
    for (size_t i = 0; i < b.size; ++i)
      b.p[i] = static_cast<unsigned char>(tag(b) + i);
  }
  static void check(const block& b) {
    for (size_t i = 0; i < b.size; ++i)
      ASSERT_EQ(b.p[i], static_cast<unsigned char>(tag(b) + i)) << b.size;
  }
  std::mt19937 random_;
  std::vector<block> blocks_;
};

TEST(malloc, random_work_keeps_contents) {
  pool p(1);
  for (int i = 0; i < 4000 && !testing::Test::HasFailure(); ++i)
    p.step(i / 800 % 2 ? 30 : 400);
}

TEST(malloc, classes_fit) {
  for (size_t n = 0; n <= 20000; ++n) {
    void* p = malloc(n);
    ASSERT_NE(p, nullptr);
    const size_t usable = malloc_usable_size(p);
    ASSERT_GE(usable, n);
    ASSERT_LE(usable, n < 64 ? n + 16 : n <= largest_small ? n + n / 4 + 16 : n + 4096) << n;
    ASSERT_EQ(reinterpret_cast<uintptr_t>(p) % 16, 0u);
    free(p);
  }
}

TEST(malloc, alignments) {
  for (size_t alignment = 1; alignment <= size_t{64} << 20; alignment *= 2)
    for (size_t n :
         {size_t{0}, size_t{1}, size_t{100}, size_t{5000}, size_t{300000}, size_t{3000000}}) {
      void* p = aligned_alloc(alignment, n);
      ASSERT_NE(p, nullptr) << alignment << " " << n;
      EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % alignment, 0u);
      EXPECT_GE(malloc_usable_size(p), n);
      memset(p, 1, n);
      p = realloc(p, n + 10000);
      ASSERT_NE(p, nullptr);
      EXPECT_TRUE(n == 0 || static_cast<char*>(p)[n - 1] == 1);
      free(p);
    }
  void* p = nullptr;
  EXPECT_EQ(posix_memalign(&p, 4, 10), EINVAL);
  EXPECT_EQ(posix_memalign(&p, 24, 10), EINVAL);
  EXPECT_EQ(posix_memalign(&p, 64, 10), 0);
  free(p);
  errno = 0;
  EXPECT_EQ(aligned_alloc(3, 10), nullptr);
  EXPECT_EQ(errno, EINVAL);
}

TEST(malloc, impossible_sizes) {
  volatile size_t huge = ~size_t{0};
  for (size_t n : {huge + 0, huge - 4096, huge / 2, size_t{1} << 60}) {
    errno = 0;
    EXPECT_EQ(malloc(n), nullptr);
    EXPECT_EQ(errno, ENOMEM);
    EXPECT_EQ(calloc(n, 1), nullptr);
    EXPECT_EQ(calloc(1, n), nullptr);
    EXPECT_EQ(aligned_alloc(1 << 22, n), nullptr);
    EXPECT_EQ(aligned_alloc(64, n), nullptr);
    void* p = malloc(100);
    memset(p, 7, 100);
    EXPECT_EQ(realloc(p, n), nullptr);
    EXPECT_EQ(static_cast<char*>(p)[99], 7);
    free(p);
    p = malloc(1000000);
    EXPECT_EQ(realloc(p, n), nullptr);
    free(p);
  }
  EXPECT_EQ(calloc(huge / 2, 3), nullptr);
  free(nullptr);
  EXPECT_EQ(malloc_usable_size(nullptr), 0u);
}

TEST(malloc, growing_in_place) {
  // A buffer that grows by itself, as strings and logs do, is not copied every time.
  char* p = static_cast<char*>(malloc(20000));
  unsigned moves = 0;
  for (size_t n = 20000; n < 400000; n += 4000) {
    char* q = static_cast<char*>(realloc(p, n));
    moves += q != p;
    p = q;
  }
  EXPECT_LE(moves, 5u);
  free(p);
}

TEST(malloc, memory_goes_back) {
  const size_t before = resident();
  for (size_t size : {24, 200, 3000, 20000, 400000, 5000000}) {
    std::vector<void*> all;
    for (size_t i = 0; i < 60000000 / size; ++i) {
      all.push_back(malloc(size));
      memset(all.back(), 1, size);
    }
    EXPECT_GE(resident(), before + 55000000) << size;
    for (void* p : all)
      free(p);
    // The thread's cache, a slab of each class, and what was left lying around below the limit.
    EXPECT_LE(resident(), before + 2000000) << size;
  }
}

TEST(malloc, small_objects_cost_their_class) {
  for (size_t size : {16, 32, 64, 100, 1000}) {
    const size_t before = resident();
    const size_t n = 20000000 / size;
    std::vector<void*> all;
    for (size_t i = 0; i < n; ++i) {
      all.push_back(malloc(size));
      *static_cast<char*>(all.back()) = 1;
    }
    const double cost = double(resident() - before) / double(n);
    fprintf(stderr, "object of %zu bytes costs %.1f\n", size, cost);
    EXPECT_LE(cost, double(size) * 1.15) << size;
    EXPECT_GE(cost, double(size) * 0.9) << size;
    for (void* p : all)
      free(p);
  }
}

TEST(malloc, threads_exchange_objects) {
  constexpr int threads = 4;
  std::mutex locks[16];
  std::vector<unsigned char*> shelves[16];
  std::vector<std::thread> all;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < threads; ++t)
    all.emplace_back([&, t] {
      std::mt19937 random(t);
      for (int i = 0; i < 60000; ++i) {
        const unsigned shelf = random() % 16;
        unsigned char* taken = nullptr;
        if (random() % 2) {
          const size_t n = 16 + random() % (random() % 50 ? 500 : 20000);
          auto* p = static_cast<unsigned char*>(malloc(n));
          p[0] = p[15] = static_cast<unsigned char>(reinterpret_cast<uintptr_t>(p) >> 4);
          std::lock_guard g(locks[shelf]);
          shelves[shelf].push_back(p);
        } else {
          std::lock_guard g(locks[shelf]);
          if (!shelves[shelf].empty()) {
            taken = shelves[shelf].back();
            shelves[shelf].pop_back();
          }
        }
        if (taken) {
          const auto expected = static_cast<unsigned char>(reinterpret_cast<uintptr_t>(taken) >> 4);
          wrong += taken[0] != expected || taken[15] != expected;
          free(taken);
        }
      }
      __malloc_thread_exit();
    });
  for (auto& t : all)
    t.join();
  EXPECT_EQ(wrong, 0);
  for (auto& s : shelves)
    for (auto* p : s)
      free(p);
}

TEST(malloc, threads_that_end_leave_nothing) {
  auto round = [] {
    std::thread([] {
      std::vector<void*> all;
      for (int i = 0; i < 5000; ++i)
        all.push_back(malloc(16 + i % 2000));
      for (void* p : all)
        free(p);
      __malloc_thread_exit();
    }).join();
  };
  for (int i = 0; i < 20; ++i)
    round();
  const size_t before = resident();
  for (int i = 0; i < 100; ++i)
    round();
  EXPECT_LE(resident(), before + 2000000);
}

// When the system gives no more malloc fails, says ENOMEM, and goes on once something is freed.
TEST(malloc, exhaustion) {
  for (size_t extra = 0; extra < 4500000; extra += 1100000)
    for (size_t size : {40, 1000, 30000, 700000}) {
      mapping_limit = mapped_bytes + extra;
      std::vector<void*> all;
      errno = 0;
      while (void* p = malloc(size)) {
        memset(p, 1, size);
        all.push_back(p);
      }
      ASSERT_EQ(errno, ENOMEM);
      ASSERT_GE((all.size() + 6) * size + 4500000, extra) << size;
      ASSERT_EQ(calloc(1, 5000000), nullptr);
      for (size_t i = 0; i < all.size(); i += 2) {
        void* p = realloc(all[i], size * 2); // may fail, or move
        all[i] = p ? p : all[i];
      }
      for (void* p : all)
        free(p);
      mapping_limit = ~size_t{0};
    }
}

// The system may refuse to take memory back when it is out of memory itself.
TEST(malloc, memory_that_could_not_be_given_back_is_not_taken_for_zero) {
  giving_back_fails = true;
  for (int round = 0; round < 3; ++round) {
    std::vector<unsigned char*> all;
    for (int i = 0; i < 100; ++i) {
      all.push_back(static_cast<unsigned char*>(calloc(1, 100000)));
      for (size_t k = 0; k < 100000; ++k)
        ASSERT_EQ(all.back()[k], 0);
      memset(all.back(), 0xff, 100000);
    }
    for (auto* p : all)
      free(p);
  }
  giving_back_fails = false;
  const size_t before = resident();
  free(malloc(100000));
  EXPECT_LE(resident() + 5000000, before);
}

TEST(malloc, misuse_is_noticed) {
  EXPECT_DEATH(
      {
        void* p = malloc(100000);
        free(p);
        free(p);
      },
      "");
  EXPECT_DEATH(
      free(reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(malloc(64)) & ~(region_size - 1))),
      "");
}

} // namespace

#undef mmap
#undef munmap
#undef madvise
#undef mremap
extern "C" {
void* test_mmap(void* at, size_t bytes, int prot, int flags, int fd, long offset) {
  std::lock_guard g(system_lock);
  if (mapped_bytes + bytes > mapping_limit || mapped_bytes + bytes < bytes) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  void* p = mmap(at, bytes, prot, flags, fd, offset);
  if (p != MAP_FAILED) {
    madvise(p, bytes, MADV_NOHUGEPAGE); // residence is counted by small pages
    note(reinterpret_cast<uintptr_t>(p), pages(bytes));
  }
  return p;
}
int test_munmap(void* p, size_t bytes) {
  std::lock_guard g(system_lock);
  if (giving_back_fails)
    return -1;
  forget(reinterpret_cast<uintptr_t>(p), pages(bytes));
  return munmap(p, bytes);
}
int test_madvise(void* p, size_t bytes, int advice) {
  return giving_back_fails ? -1 : madvise(p, bytes, advice);
}
void* test_mremap(void* old, size_t old_bytes, size_t bytes, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  void* to = flags & MREMAP_FIXED ? va_arg(arguments, void*) : nullptr;
  va_end(arguments);
  std::lock_guard g(system_lock);
  if (bytes > old_bytes && mapped_bytes + (bytes - old_bytes) > mapping_limit) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  void* p = mremap(old, old_bytes, bytes, flags, to);
  if (p != MAP_FAILED) {
    forget(reinterpret_cast<uintptr_t>(old), pages(old_bytes));
    forget(reinterpret_cast<uintptr_t>(p), pages(bytes));
    note(reinterpret_cast<uintptr_t>(p), pages(bytes));
  }
  return p;
}
}
