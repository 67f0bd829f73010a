// sources:
// Identifications of datagrams: those of one flow follow each other, and say nothing of others.
#include "core/net/identifiers.hh"

#include <gtest/gtest.h>
#include <set>
#include <vector>

namespace oblako::net {
namespace {

using datagram = ip_identifiers::datagram;

datagram between(uint32_t from, uint32_t to, uint32_t protocol = 17) {
  datagram d;
  d.from[0] = from;
  d.to[0] = to;
  d.protocol = protocol;
  return d;
}

struct identifiers_of_a_machine {
  explicit identifiers_of_a_machine(uint64_t seed, uint32_t count = 256) : counters(count, 0) {
    ids.start({seed, ~seed}, counters.data(), count);
  }
  std::vector<uint32_t> counters;
  ip_identifiers ids;
};

TEST(identifiers, none_of_a_flow_comes_again_while_others_are_sent) {
  identifiers_of_a_machine m(1);
  std::set<uint16_t> seen;
  for (uint32_t n = 0; n < 0x10000; ++n)
    EXPECT_TRUE(seen.insert(static_cast<uint16_t>(m.ids.next(between(1, 2)))).second);
}

TEST(identifiers, a_flow_does_not_tell_of_others) {
  identifiers_of_a_machine m(2);
  unsigned moved = 0;
  for (uint32_t n = 0; n < 1000; ++n) {
    const uint32_t before = m.ids.next(between(1, 2));
    for (uint32_t k = 0; k < 10; ++k) // ten datagrams to one of a thousand others
      m.ids.next(between(1, 1000 + n));
    moved += m.ids.next(between(1, 2)) - before != 1;
  }
  EXPECT_LT(moved, 20u); // those that share its counter: 1 of 256
}

TEST(identifiers, where_a_flow_begins_cannot_be_told_from_another) {
  identifiers_of_a_machine a(3), b(4);
  std::set<uint32_t> begins;
  unsigned near = 0;
  uint32_t before = 0;
  for (uint32_t n = 0; n < 1000; ++n) {
    const uint32_t first = a.ids.next(between(1, n));
    EXPECT_NE(first, b.ids.next(between(1, n))); // it depends on the key
    near += first - before + 1000 < 2000;
    before = first;
    begins.insert(first);
  }
  EXPECT_EQ(begins.size(), 1000u);
  EXPECT_LE(near, 1u);
}

TEST(identifiers, source_destination_and_protocol_count) {
  identifiers_of_a_machine m(5);
  const uint32_t first = m.ids.next(between(1, 2));
  EXPECT_NE(m.ids.next(between(1, 2, 1)) - first, 1u);
  EXPECT_NE(m.ids.next(between(2, 1)) - first, 1u);
  EXPECT_EQ(m.ids.next(between(1, 2)) - first, 1u);
  datagram v6 = between(1, 2, 0), other = v6;
  other.to[3] = 9;
  EXPECT_NE(m.ids.next(v6), m.ids.next(other));
}

} // namespace
} // namespace oblako::net
