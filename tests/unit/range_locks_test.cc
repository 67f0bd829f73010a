// sources: core/posix/range_locks.cc core/mem/buffer_account.cc
// Ranges that one owner has locked, against a model with one entry a byte.
#include "core/posix/range_locks.hh"
#include "tests/unit/fake_kernel.hh"
#include <gtest/gtest.h>
#include <random>
#include <vector>

using namespace oblako;
using namespace oblako::posix;

namespace {

constexpr uint64_t bytes = 40;
using model = std::vector<lock_kind>;

// What the model says is the first thing in the way, as a byte; `bytes` if nothing.
uint64_t first_conflict(const model& m, byte_range r, lock_kind wanted) {
  for (uint64_t i = r.first; i <= r.last; ++i)
    if (m[i] == lock_kind::exclusive ||
        (m[i] == lock_kind::shared && wanted == lock_kind::exclusive))
      return i;
  return bytes;
}

// Runs of one kind in the model: so many ranges there have to be.
size_t runs(const model& m) {
  size_t n = 0;
  for (uint64_t i = 0; i < bytes; ++i)
    n += m[i] != lock_kind::none && (i == 0 || m[i - 1] != m[i]);
  return n;
}

TEST(range_locks, random_calls_agree_with_a_model) {
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    const size_t before = test::live.size();
    {
      range_locks locks;
      model m(bytes, lock_kind::none);
      for (int call = 0; call < 60; ++call) {
        uint64_t a = random() % bytes, b = random() % bytes;
        const byte_range r{std::min(a, b), std::max(a, b)};
        const auto kind = static_cast<lock_kind>(random() % 3);
        ASSERT_TRUE(locks.set(r, kind).ok());
        std::fill(m.begin() + r.first, m.begin() + r.last + 1, kind);
        ASSERT_EQ(test::live.size() - before, runs(m)) << "neighbours of one kind are one range";
        a = random() % bytes, b = random() % bytes;
        const byte_range asked{std::min(a, b), std::max(a, b)};
        for (auto wanted : {lock_kind::shared, lock_kind::exclusive}) {
          const uint64_t expected = first_conflict(m, asked, wanted);
          const locked_range* found = locks.conflict(asked, wanted);
          ASSERT_EQ(found != nullptr, expected != bytes);
          if (found) {
            ASSERT_EQ(std::max(found->range.first, asked.first), expected);
          }
        }
      }
    }
    ASSERT_EQ(test::live.size(), before) << "all is given back";
  }
}

TEST(range_locks, without_memory_nothing_changes) {
  range_locks locks;
  ASSERT_TRUE(locks.set({10, 20}, lock_kind::exclusive).ok());
  test::allocations_left = 0;
  EXPECT_EQ(locks.set({15, 16}, lock_kind::none).code(), error::nolck);
  EXPECT_EQ(locks.set({0, 5}, lock_kind::shared).code(), error::nolck);
  EXPECT_TRUE(locks.conflict({15, 15}, lock_kind::shared));
  EXPECT_FALSE(locks.conflict({0, 9}, lock_kind::exclusive));
  EXPECT_TRUE(locks.set({0, 100}, lock_kind::none).ok()) << "giving all back needs no memory";
  EXPECT_TRUE(locks.empty());
  test::allocations_left = ~size_t{0};
}

TEST(range_locks, the_last_byte) {
  range_locks locks;
  ASSERT_TRUE(locks.set({5, byte_range::last_byte}, lock_kind::shared).ok());
  ASSERT_TRUE(locks.set({0, byte_range::last_byte}, lock_kind::exclusive).ok());
  ASSERT_TRUE(locks.set({byte_range::last_byte, byte_range::last_byte}, lock_kind::none).ok());
  EXPECT_FALSE(locks.conflict({byte_range::last_byte, byte_range::last_byte}, lock_kind::shared));
  EXPECT_TRUE(
      locks.conflict({byte_range::last_byte - 1, byte_range::last_byte}, lock_kind::shared));
}

} // namespace
