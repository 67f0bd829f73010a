// sources: core/net/time_wait.cc core/net/syn_queue.cc
// The records of connections without a control block: TIME_WAIT, half-open ones, SYN cookies.
// Memory comes from the host's heap, so ASan sees every record; allocations can be made to fail.
#include "core/mem/heap.hh"
#include "core/net/syn_queue.hh"
#include "core/net/time_wait.hh"

#include <cstdlib>
#include <gtest/gtest.h>
#include <random>
#include <set>
#include <vector>

namespace {
int allocations_left = -1; // -1: any number
// A table of the kernel is never freed: it stays in this set, which is never destroyed.
auto& live = *new std::set<void*>;

void* host_allocate(size_t bytes) {
  if (allocations_left == 0)
    return nullptr;
  if (allocations_left > 0)
    --allocations_left;
  return *live.insert(calloc(1, bytes)).first;
}
} // namespace

namespace oblako::mem {
void* allocate(size_t bytes) {
  return host_allocate(bytes);
}
void* allocate_zeroed(size_t bytes) {
  return host_allocate(bytes);
}
void release_sized(void* memory, size_t) {
  live.erase(memory);
  free(memory);
}
} // namespace oblako::mem

namespace oblako::net {
namespace {

constexpr siphash_key key{1, 2};

flow numbered(uint32_t n) {
  flow f;
  f.remote[0] = 0x0a000000 + n % 7;
  f.local[0] = 0x0a0000ff;
  f.remote_port = static_cast<uint16_t>(n);
  f.local_port = 6379;
  return f;
}
uint64_t hash(const flow& f) {
  return hash_of(f, key);
}

// --- TIME_WAIT

struct ended_connections {
  ended_connections() : table(60'000) { table.set_limit(1000); }
  time_wait_record* add(uint32_t n, uint32_t now) {
    auto* r = table.add(numbered(n), hash(numbered(n)), now);
    return r;
  }
  time_wait_record* find(uint32_t n) { return table.find(numbered(n), hash(numbered(n))); }
  time_wait_table table;
};

TEST(time_wait, ends_in_order_after_its_time) {
  const size_t before = live.size();
  ended_connections e;
  for (uint32_t n = 0; n < 500; ++n)
    ASSERT_TRUE(e.add(n, 1000 + n));
  EXPECT_EQ(e.table.count(), 500u);
  e.table.expire(61'000 + 249, hash);
  EXPECT_EQ(e.table.count(), 250u);
  EXPECT_FALSE(e.find(249));
  EXPECT_TRUE(e.find(250));
  EXPECT_EQ(e.table.oldest()->ends, 61'250u);
  e.table.restart(*e.find(250), 50'000);
  e.table.expire(61'000 + 499, hash);
  EXPECT_EQ(e.table.count(), 1u);
  EXPECT_TRUE(e.find(250));
  e.table.expire(110'000, hash);
  EXPECT_EQ(e.table.oldest(), nullptr);
  EXPECT_EQ(live.size(), before + 1); // the buckets
}

TEST(time_wait, the_same_connection_again_is_one_record) {
  ended_connections e;
  auto* first = e.add(5, 10);
  EXPECT_EQ(e.add(5, 20), first);
  EXPECT_EQ(e.table.count(), 1u);
  EXPECT_EQ(first->ends, 60'020u);
  e.table.remove(*first, hash(numbered(5)));
  EXPECT_FALSE(e.find(5));
}

TEST(time_wait, the_clock_may_wrap_around) {
  ended_connections e;
  e.add(1, 0xffff'fff0);
  e.table.expire(100, hash);
  EXPECT_TRUE(e.find(1));
  e.table.expire(60'000, hash);
  EXPECT_FALSE(e.find(1));
}

TEST(time_wait, without_memory_it_forgets) {
  for (int n = 0; n < 2; ++n) {
    ended_connections e;
    allocations_left = n; // the buckets, then a record
    EXPECT_EQ(e.add(1, 0), nullptr);
    EXPECT_FALSE(e.find(1));
    allocations_left = -1;
    auto* r = e.add(1, 0);
    ASSERT_TRUE(r);
    e.table.remove(*r, hash(numbered(1)));
  }
}

// --- half-open connections

struct openings {
  openings() { queue.start(0, 100); }
  half_open* add(uint32_t n, uint32_t now) {
    return queue.add(numbered(n), hash(numbered(n)), now);
  }
  half_open* find(uint32_t n) { return queue.find(numbered(n), hash(numbered(n))); }
  unsigned run(uint32_t now) {
    unsigned answers = 0;
    queue.run(
        now, [&](half_open&) { ++answers; }, hash);
    return answers;
  }
  syn_queue queue;
};

TEST(syn_queue, answers_again_ever_less_often_and_gives_up) {
  openings o;
  ASSERT_TRUE(o.add(1, 0));
  uint32_t due = 0;
  for (unsigned n = 0; n < syn_queue::most_answers; ++n) {
    due += syn_queue::first_patience_ms << n;
    EXPECT_EQ(o.run(due - 1), 0u);
    EXPECT_TRUE(o.find(1));
    EXPECT_EQ(o.run(due), 1u);
  }
  EXPECT_EQ(o.run(62'999), 0u);
  EXPECT_TRUE(o.find(1));
  EXPECT_EQ(o.run(63'000), 0u);
  EXPECT_FALSE(o.find(1));
  EXPECT_EQ(o.queue.count(), 0u);
  uint32_t when;
  EXPECT_FALSE(o.queue.next(when));
}

TEST(syn_queue, is_bounded_and_gives_back_what_it_takes) {
  const size_t before = live.size();
  openings o;
  for (uint32_t n = 0; n < 100; ++n)
    ASSERT_TRUE(o.add(n, 0));
  EXPECT_FALSE(o.add(100, 0));
  o.queue.remove(*o.find(50), hash(numbered(50)));
  EXPECT_FALSE(o.find(50));
  EXPECT_TRUE(o.add(100, 0));
  allocations_left = 0;
  o.queue.remove(*o.find(51), hash(numbered(51)));
  EXPECT_FALSE(o.add(101, 0));
  allocations_left = -1;
  for (uint32_t now = 0; now < 70'000; now += 500)
    o.run(now);
  EXPECT_EQ(o.queue.count(), 0u);
  EXPECT_EQ(live.size(), before);
}

TEST(syn_queue, waiting_connections_stay_in_line_and_are_given_up) {
  openings o;
  for (uint32_t n = 0; n < 5; ++n)
    ASSERT_TRUE(o.add(n, 0));
  for (uint32_t n : {3, 1, 4, 0})
    o.queue.wait(*o.find(n), 500);
  EXPECT_EQ(o.queue.first_waiting(), o.find(3));
  EXPECT_EQ(o.run(1000), 1u); // only the one that was not confirmed is answered again
  o.queue.remove(*o.find(1), hash(numbered(1))); // from the middle
  o.queue.wait_no_longer(*o.find(3));            // from the front
  EXPECT_EQ(o.queue.first_waiting(), o.find(4));
  o.queue.wait(*o.find(3), 600); // and behind again
  o.queue.remove(*o.find(4), hash(numbered(4)));
  o.queue.remove(*o.find(0), hash(numbered(0)));
  EXPECT_EQ(o.queue.first_waiting(), o.find(3));
  o.run(32'599);
  EXPECT_TRUE(o.find(3));
  o.run(32'600);
  EXPECT_FALSE(o.find(3));
  EXPECT_FALSE(o.queue.first_waiting());
}

// --- cookies

TEST(syn_cookie, brings_the_options_back) {
  for (uint16_t mss : {64, 536, 1000, 1220, 1459, 1460})
    for (uint8_t scale : {0, 7, 14, 15})
      for (bool sack : {false, true}) {
        const syn_options o{mss, scale, sack};
        const uint32_t cookie = make_cookie(key, numbered(7), 1234, o, 1'000'000);
        syn_options found;
        ASSERT_TRUE(open_cookie(key, numbered(7), 1234, cookie, 1'000'000, found));
        EXPECT_LE(found.mss, mss);
        EXPECT_GE(found.mss * 2, mss);
        EXPECT_EQ(found.scale, scale);
        EXPECT_EQ(found.sack, sack);
      }
}

TEST(syn_cookie, is_for_one_connection_and_for_some_time) {
  const syn_options o{1460, 7, true};
  const uint32_t now = 10 * cookie_period_ms + 5;
  const uint32_t cookie = make_cookie(key, numbered(7), 1234, o, now);
  syn_options found;
  EXPECT_TRUE(open_cookie(key, numbered(7), 1234, cookie, now + cookie_period_ms, found));
  EXPECT_FALSE(open_cookie(key, numbered(7), 1234, cookie, now + 2 * cookie_period_ms, found));
  EXPECT_FALSE(open_cookie(key, numbered(8), 1234, cookie, now, found));
  EXPECT_FALSE(open_cookie(key, numbered(7), 1235, cookie, now, found));
  EXPECT_FALSE(open_cookie({1, 3}, numbered(7), 1234, cookie, now, found));
  EXPECT_FALSE(open_cookie(key, numbered(7), 1234, cookie ^ 1, now, found)); // SACK taken away
}

TEST(syn_cookie, is_hard_to_guess) {
  std::mt19937 random(3);
  unsigned guessed = 0;
  syn_options found;
  for (int n = 0; n < 100'000; ++n)
    guessed += open_cookie(key, numbered(7), 1234, random(), 1'000'000, found);
  EXPECT_LE(guessed, 1u); // one in eight million
}

} // namespace
} // namespace oblako::net
