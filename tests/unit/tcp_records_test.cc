// sources: core/net/time_wait.cc core/net/syn_queue.cc
// The records of connections without a control block: TIME_WAIT, half-open ones, SYN cookies; and
// the queues of a listener.
#include "core/net/syn_queue.hh"
#include "core/net/time_wait.hh"
#include "tests/unit/host_heap.hh"

#include <cstdlib>
#include <gtest/gtest.h>
#include <random>
#include <vector>

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
    auto* r = table.add(numbered(n), hash, now);
    return r;
  }
  time_wait_record* find(uint32_t n) { return table.find(numbered(n), hash(numbered(n))); }
  time_wait_table table;
};

TEST(time_wait, ends_in_order_after_its_time) {
  const size_t before = test::live.size();
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
  EXPECT_EQ(test::live.size(), before + 1); // the buckets
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

TEST(time_wait, beyond_its_limit_the_oldest_gives_way) {
  const size_t before = test::live.size();
  ended_connections e;
  for (uint32_t n = 0; n < 5000; ++n) {
    ASSERT_TRUE(e.add(n, n));
    EXPECT_LE(e.table.count(), 1000u);
    EXPECT_LE(test::live.size(), before + 1000 + 1); // and the buckets
  }
  for (uint32_t n = 0; n < 5000; ++n)
    EXPECT_EQ(e.find(n) != nullptr, n >= 4000) << n;
  e.table.restart(*e.find(4000), 5000); // it is the youngest now
  e.add(5000, 5000);
  EXPECT_TRUE(e.find(4000));
  EXPECT_FALSE(e.find(4001));
  e.add(4500, 5001); // known: nobody gives way
  EXPECT_TRUE(e.find(4002));
  EXPECT_EQ(e.table.count(), 1000u);
  e.table.expire(70'000, hash);
  EXPECT_EQ(test::live.size(), before + 1);
}

TEST(time_wait, without_memory_for_another_the_oldest_has_gone) {
  ended_connections e;
  e.table.set_limit(2);
  e.add(1, 0);
  e.add(2, 0);
  test::allocations_left = 0;
  EXPECT_EQ(e.add(3, 0), nullptr);
  EXPECT_EQ(e.table.count(), 1u);
  EXPECT_TRUE(e.find(2));
  test::allocations_left = -1;
  e.table.expire(60'000, hash);
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
    test::allocations_left = n; // the buckets, then a record
    EXPECT_EQ(e.add(1, 0), nullptr);
    EXPECT_FALSE(e.find(1));
    test::allocations_left = -1;
    auto* r = e.add(1, 0);
    ASSERT_TRUE(r);
    e.table.remove(*r, hash(numbered(1)));
  }
}

// --- half-open connections

struct openings {
  openings() { queue.start(0, 100); }
  half_open* add(uint32_t n, uint32_t now) {
    return queue.add(numbered(n), hash(numbered(n)), now, listener, 1000);
  }
  half_open* find(uint32_t n) { return queue.find(numbered(n), hash(numbered(n))); }
  unsigned run(uint32_t now) {
    unsigned answers = 0;
    queue.run(
        now, [&](half_open&) { ++answers; }, hash);
    return answers;
  }
  syn_queue queue;
  backlog listener = {};
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
  const size_t before = test::live.size();
  openings o;
  for (uint32_t n = 0; n < 50; ++n)
    ASSERT_TRUE(o.add(n, 0));
  EXPECT_FALSE(o.add(100, 0)); // not more than are free
  o.queue.remove(*o.find(30), hash(numbered(30)));
  EXPECT_FALSE(o.find(30));
  EXPECT_TRUE(o.add(100, 0));
  test::allocations_left = 0;
  o.queue.remove(*o.find(31), hash(numbered(31)));
  EXPECT_FALSE(o.add(101, 0));
  test::allocations_left = -1;
  for (uint32_t now = 0; now < 70'000; now += 500)
    o.run(now);
  EXPECT_EQ(o.queue.count(), 0u);
  EXPECT_EQ(o.listener.records, 0u);
  EXPECT_EQ(test::live.size(), before);
}

TEST(syn_queue, a_listener_leaves_something_for_the_others) {
  openings o;
  constexpr unsigned listeners = 4;
  backlog b[listeners] = {};
  uint32_t n = 0;
  const auto flood = [&](unsigned at, unsigned most) {
    while (o.queue.add(numbered(n), hash(numbered(n)), 0, b[at], most))
      ++n;
    return b[at].records;
  };
  EXPECT_EQ(flood(0, 10), 10u);   // its own bound
  EXPECT_EQ(flood(1, 1000), 45u); // half of what is left
  EXPECT_EQ(flood(2, 1000), 23u);
  EXPECT_EQ(flood(3, 1000), 11u);
  EXPECT_EQ(o.queue.count(), 89u);
  backlog quiet = {};
  EXPECT_TRUE(o.queue.add(numbered(n), hash(numbered(n)), 0, quiet, 1000));
  EXPECT_EQ(flood(1, 1000), 45u); // no more while others have theirs
  for (uint32_t now = 0; now < 70'000; now += 500)
    o.run(now);
}

std::vector<backlog_place*> in_line(const backlog& b, uint8_t queue) {
  std::vector<backlog_place*> found;
  const backlog_place* before = nullptr;
  for (backlog_place* p = b.queues[queue].first; p; before = p, p = p->behind) {
    EXPECT_EQ(p->before, before);
    EXPECT_EQ(p->at, &b);
    found.push_back(p);
  }
  EXPECT_EQ(b.queues[queue].last, before);
  return found;
}

TEST(backlog, places_leave_from_anywhere_and_queues_are_apart) {
  using places = std::vector<backlog_place*>;
  backlog b = {};
  backlog_place p[4] = {};
  for (auto& each : p)
    enter_queue(b, backlog_waiting, each);
  EXPECT_TRUE(is_waiting(p[0]));
  leave_queue(p[1]);
  EXPECT_EQ(in_line(b, backlog_waiting), (places{&p[0], &p[2], &p[3]}));
  enter_queue(b, backlog_accepted, p[1]);
  EXPECT_FALSE(is_waiting(p[1]));
  leave_queue(p[0]);
  leave_queue(p[0]); // is in none
  leave_queue(p[3]);
  EXPECT_EQ(in_line(b, backlog_waiting), places{&p[2]});
  enter_queue(b, backlog_waiting, p[0]); // behind
  EXPECT_EQ(in_line(b, backlog_waiting), (places{&p[2], &p[0]}));
  leave_queue(p[2]);
  leave_queue(p[0]);
  EXPECT_TRUE(in_line(b, backlog_waiting).empty());
  EXPECT_EQ(in_line(b, backlog_accepted), places{&p[1]});
}

TEST(syn_queue, who_waits_is_not_answered_again_and_given_up) {
  openings o;
  backlog& b = o.listener;
  for (uint32_t n = 0; n < 5; ++n)
    ASSERT_TRUE(o.add(n, 0));
  for (uint32_t n : {3, 1, 4, 0}) {
    leave_queue(o.find(n)->place);
    enter_queue(b, backlog_waiting, o.find(n)->place);
    o.queue.be_patient(*o.find(n), 500);
  }
  EXPECT_EQ(&record_at(*b.queues[backlog_waiting].first), o.find(3));
  EXPECT_TRUE(o.find(3)->place.is_record);
  EXPECT_EQ(o.run(1000), 1u); // only the one that was not confirmed
  o.queue.remove(*o.find(1), hash(numbered(1)));
  EXPECT_EQ(in_line(b, backlog_waiting).size(), 3u);
  o.run(32'499);
  EXPECT_TRUE(o.find(3));
  o.run(32'500);
  EXPECT_FALSE(o.find(3));
  EXPECT_TRUE(in_line(b, backlog_waiting).empty());
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
