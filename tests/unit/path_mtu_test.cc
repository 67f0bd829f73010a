// sources: core/net/path_mtu_table.cc
// What is remembered of paths, and of what was sent; how often something may be sent.
#include "core/net/message_rate.hh"
#include "core/net/path_mtu_table.hh"
#include "core/net/sent_packets.hh"
#include "tests/unit/host_heap.hh"

#include <gtest/gtest.h>

namespace oblako::net {
namespace {

constexpr siphash_key key{1, 2};
constexpr uint32_t life = path_mtu_table::lifetime_ms;

struct paths {
  path_mtu_table table;

  static destination numbered(uint32_t n) {
    destination d;
    d.address[0] = 0x0a000000 + n;
    return d;
  }
  bool learn(const destination& d, uint16_t mtu, uint32_t now) {
    return table.learn(d, hash_of(d, key), mtu, now);
  }
  bool learn(uint32_t n, uint16_t mtu, uint32_t now = 0) { return learn(numbered(n), mtu, now); }
  uint16_t find(const destination& d) const { return table.find(d, hash_of(d, key)); }
  uint16_t find(uint32_t n) const { return find(numbered(n)); }
};

TEST(Paths, OneIsLearntAndOnlyGetsNarrower) {
  paths p;
  EXPECT_TRUE(p.table.empty());
  EXPECT_EQ(p.find(1), 0);
  EXPECT_TRUE(p.learn(1, 1400));
  EXPECT_EQ(p.find(1), 1400);
  EXPECT_EQ(p.find(2), 0);
  EXPECT_FALSE(p.learn(1, 1500)) << "nobody can widen it";
  EXPECT_FALSE(p.learn(1, 1400));
  EXPECT_EQ(p.find(1), 1400);
  EXPECT_TRUE(p.learn(1, 1300));
  EXPECT_EQ(p.find(1), 1300);
  EXPECT_EQ(p.table.count(), 1u);
}

TEST(Paths, FamiliesAndZonesAreToldApart) {
  paths p;
  destination v4 = paths::numbered(7), v6 = v4, other_link;
  v6.version = 6;
  other_link = v6;
  other_link.zone = 2;
  EXPECT_TRUE(p.learn(v6, 1280, 0));
  EXPECT_EQ(p.find(v4), 0);
  EXPECT_EQ(p.find(other_link), 0);
  EXPECT_EQ(p.find(v6), 1280);
}

TEST(Paths, AgeAndAreForgotten) {
  for (const uint32_t start : {0u, 0xffffff00u}) { // the clock wraps
    paths p;
    p.learn(1, 1400, start);
    p.learn(2, 1400, start + 1000);
    EXPECT_FALSE(p.table.expire(start + life - 1));
    EXPECT_EQ(p.find(1), 1400);
    EXPECT_TRUE(p.table.expire(start + life));
    EXPECT_EQ(p.find(1), 0);
    EXPECT_EQ(p.find(2), 1400);
    EXPECT_TRUE(p.table.expire(start + life + 1000));
    EXPECT_TRUE(p.table.empty());
    EXPECT_FALSE(p.table.expire(start + life + 1000));
  }
}

TEST(Paths, WhatIsLearntAgainLivesOn) {
  paths p;
  p.learn(1, 1400, 0);
  p.learn(1, 1400, 5000);
  p.table.expire(life);
  EXPECT_EQ(p.find(1), 1400);
  p.learn(1, 1500, 9000); // says nothing new
  p.table.expire(life + 5000);
  EXPECT_EQ(p.find(1), 0);
}

TEST(Paths, TheOldestGivesWay) {
  constexpr unsigned limit = 100;
  paths p;
  p.table.set_limit(limit);
  for (uint32_t n = 0; n < 1000; ++n) {
    EXPECT_TRUE(p.learn(n, 1400, n));
    EXPECT_LE(p.table.count(), limit);
  }
  for (uint32_t n = 0; n < 1000; ++n)
    EXPECT_EQ(p.find(n), n < 1000 - limit ? 0 : 1400) << n;
}

TEST(Paths, WithoutMemoryNothingIsKnown) {
  paths p;
  for (int left : {0, 1}) { // the buckets, the record
    test::allocations_left = left;
    EXPECT_FALSE(p.learn(1, 1400));
    EXPECT_EQ(p.find(1), 0);
  }
  test::allocations_left = -1;
  EXPECT_TRUE(p.learn(1, 1400));
  EXPECT_EQ(p.find(1), 1400);
}

TEST(SentPackets, AreKnownForAWhile) {
  constexpr uint64_t first = 0x1234'5678'0000'0005, same_place = 0x8765'4321'0000'0045;
  sent_packets sent;
  EXPECT_FALSE(sent.is_made());
  EXPECT_FALSE(sent.knows(first, 0));
  sent.note(first, 0); // without memory: as if it had not been
  sent.make(64);
  EXPECT_FALSE(sent.knows(0, 0)) << "an empty place is no packet";
  sent.note(first, 100);
  EXPECT_TRUE(sent.knows(first, 100));
  EXPECT_TRUE(sent.knows(first, 100 + sent_packets::lifetime_ms - 1));
  EXPECT_FALSE(sent.knows(first, 100 + sent_packets::lifetime_ms));
  EXPECT_FALSE(sent.knows(same_place, 100));
  sent.note(same_place, 200);
  EXPECT_TRUE(sent.knows(same_place, 200));
  EXPECT_FALSE(sent.knows(first, 200)) << "its place was taken over";
}

TEST(MessageRate, ABurstThenTheRate) {
  for (const uint32_t start : {100'000u, 0xfffffff0u}) { // the clock wraps
    message_rate rate;
    EXPECT_TRUE(rate.take(start - 100'000, 100, 10));
    unsigned went = 0;
    for (unsigned n = 0; n < 1000; ++n)
      went += rate.take(start, 100, 10);
    EXPECT_EQ(went, 10u);
    for (uint32_t t = 1; t <= 1000; ++t)
      went += rate.take(start + t, 100, 10);
    EXPECT_EQ(went, 20u);
  }
}

TEST(MessageRate, IsFullAgainAfterAnyTime) {
  message_rate rate;
  uint32_t now = 1;
  for (const uint32_t quiet : {1000u, 0x7fffffffu, 0x80000001u, 0xfffff000u}) {
    now += quiet;
    unsigned went = 0;
    for (unsigned n = 0; n < 100; ++n)
      went += rate.take(now, 100, 10);
    EXPECT_EQ(went, 10u) << quiet;
  }
}

TEST(MessageRate, CostsMayDiffer) {
  message_rate rate;
  unsigned went = 0;
  while (rate.take(0, 1, 50, message_rate::most_cost))
    ++went;
  EXPECT_EQ(went, 25u);
  EXPECT_FALSE(rate.take(0, 1, 50, 0)) << "even what costs nothing waits for room";
}

} // namespace
} // namespace oblako::net
