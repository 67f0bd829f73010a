// sources: tests/tools/packets.cc
// The relay's packets: cutting large segments, completing checksums, one bit of damage; and that
// faults repeat.
#include "tests/tools/faults.hh"
#include "tests/tools/packets.hh"
#include <gtest/gtest.h>
#include <numeric>

using namespace relay;

namespace {

uint16_t at16(const frame& f, size_t where) {
  return static_cast<uint16_t>(f.bytes[where] << 8 | f.bytes[where + 1]);
}

// A TCP frame of `payload` bytes with its checksum left to a device. IPv4 with 10.0.0.1 and
// 10.0.0.2, or IPv6; 12 bytes of TCP options; FIN, PSH, ACK and CWR set.
frame tcp_frame(bool ipv6, size_t payload, uint16_t gso_size) {
  const size_t ip = ipv6 ? 40 : 20, tcp = 14 + ip, total = tcp + 32 + payload;
  frame f;
  f.bytes.resize(total);
  std::iota(f.bytes.begin() + static_cast<ptrdiff_t>(tcp + 32), f.bytes.end(), 1);
  uint8_t* b = f.bytes.data();
  b[12] = ipv6 ? 0x86 : 0x08;
  b[13] = ipv6 ? 0xdd : 0x00;
  uint32_t sum = static_cast<uint32_t>(6 + 32 + payload);
  if (ipv6) {
    b[14] = 0x60;
    b[18] = static_cast<uint8_t>((32 + payload) >> 8);
    b[19] = static_cast<uint8_t>(32 + payload);
    b[20] = 6;
    b[22] = 0xfd;
    b[53] = 2;
    sum = add_up(b + 22, 32, sum);
  } else {
    b[14] = 0x45;
    b[16] = static_cast<uint8_t>((total - 14) >> 8);
    b[17] = static_cast<uint8_t>(total - 14);
    b[18] = 0x12;
    b[19] = 0xff;
    b[23] = 6;
    b[26] = b[30] = 10;
    b[29] = 1;
    b[33] = 2;
    sum = add_up(b + 26, 8, sum);
  }
  b[tcp + 4] = b[tcp + 5] = b[tcp + 6] = 0xff; // the sequence number is about to wrap
  b[tcp + 7] = 0xf0;
  b[tcp + 12] = 0x80;
  b[tcp + 13] = 0x99;
  const uint16_t pseudo = fold(sum);
  b[tcp + 16] = static_cast<uint8_t>(pseudo >> 8);
  b[tcp + 17] = static_cast<uint8_t>(pseudo);
  f.offload.flags = needs_checksum;
  f.offload.checksum_start = static_cast<uint16_t>(tcp);
  f.offload.checksum_offset = 16;
  f.offload.gso_size = gso_size;
  f.offload.gso_type = gso_size == 0 ? gso_none : ipv6 ? gso_tcp6 : gso_tcp4 | gso_ecn;
  return f;
}

// True if a receiver would take the packet.
bool checksums_right(const frame& f) {
  const uint8_t* b = f.bytes.data();
  const bool ipv6 = b[12] == 0x86;
  const size_t tcp = ipv6 ? 54 : 34;
  uint32_t sum = static_cast<uint32_t>(6 + f.bytes.size() - tcp);
  sum = ipv6 ? add_up(b + 22, 32, sum) : add_up(b + 26, 8, sum);
  return fold(add_up(b + tcp, f.bytes.size() - tcp, sum)) == 0xffff &&
         (ipv6 || fold(add_up(b + 14, 20, 0)) == 0xffff);
}

} // namespace

TEST(relay_packets, a_large_segment_is_cut_into_packets) {
  for (bool ipv6 : {false, true}) {
    const frame large = tcp_frame(ipv6, 3000, 1400);
    const size_t tcp = ipv6 ? 54 : 34;
    EXPECT_EQ(wire_packets(large), 3u);
    const auto packets = cut(large);
    ASSERT_EQ(packets.size(), 3u);
    std::vector<uint8_t> payload;
    for (size_t i = 0; i < 3; ++i) {
      const frame& p = packets[i];
      EXPECT_TRUE(checksums_right(p)) << i;
      EXPECT_EQ(p.offload.flags, 0);
      EXPECT_EQ(p.offload.gso_type, gso_none);
      EXPECT_EQ(p.bytes.size(), tcp + 32 + (i < 2 ? 1400 : 200));
      EXPECT_EQ(ipv6 ? at16(p, 18) + 54u : at16(p, 16) + 14u, p.bytes.size());
      const uint32_t sequence = uint32_t{at16(p, tcp + 4)} << 16 | at16(p, tcp + 6);
      EXPECT_EQ(sequence, static_cast<uint32_t>(0xfffffff0 + i * 1400));
      // CWR on the first alone, FIN and PSH on the last alone.
      EXPECT_EQ(p.bytes[tcp + 13], i == 0 ? 0x90 : i == 1 ? 0x10 : 0x19);
      if (!ipv6) {
        EXPECT_EQ(at16(p, 18), 0x12ff + i);
      }
      payload.insert(payload.end(), p.bytes.begin() + static_cast<ptrdiff_t>(tcp + 32),
                     p.bytes.end());
    }
    EXPECT_TRUE(std::equal(payload.begin(), payload.end(),
                           large.bytes.begin() + static_cast<ptrdiff_t>(tcp + 32)));
  }
}

TEST(relay_packets, the_place_of_the_data_is_found) {
  for (bool ipv6 : {false, true}) {
    frame f = tcp_frame(ipv6, 1001, 0);
    const size_t tcp = ipv6 ? 54 : 34;
    f.bytes[tcp + 1] = 80;
    f.bytes[tcp + 3] = 90;
    f.bytes.resize(f.bytes.size() + 7); // padding
    const tcp_place place = place_of(f);
    EXPECT_EQ(place.ports, 80u << 16 | 90);
    EXPECT_EQ(place.sequence, 0xfffffff0);
    EXPECT_EQ(place.length, 1001u);
    EXPECT_EQ(place_of(tcp_frame(ipv6, 0, 0)).length, 0u);
    f.bytes[ipv6 ? 20 : 23] = 17;
    EXPECT_EQ(place_of(f).length, 0u);
  }
}

TEST(relay_packets, a_partial_checksum_is_completed) {
  for (size_t payload : {1u, 2u, 1001u}) {
    frame f = tcp_frame(false, payload, 0);
    f.bytes[24] = 0xff & ~fold(add_up(f.bytes.data() + 14, 20, 0)) >> 8;
    f.bytes[25] = 0xff & ~fold(add_up(f.bytes.data() + 14, 20, 0));
    const auto packets = cut(f);
    ASSERT_EQ(packets.size(), 1u);
    EXPECT_EQ(packets[0].offload.flags, 0);
    EXPECT_TRUE(fold(add_up(packets[0].bytes.data() + 34, packets[0].bytes.size() - 34,
                            6 + 32 + static_cast<uint32_t>(payload) + 10 * 512 + 3)) == 0xffff);
  }
}

TEST(relay_packets, headers_without_sense_are_no_danger) {
  for (uint8_t kind : {gso_none, gso_tcp4, gso_tcp6, uint8_t{3}, uint8_t{0xff}})
    for (size_t length = 0; length < 120; ++length) {
      frame f = tcp_frame(kind == gso_tcp6, 40, 8);
      f.bytes.resize(std::min(length, f.bytes.size()));
      f.offload.gso_type = kind;
      f.offload.checksum_start = static_cast<uint16_t>(length * 7);
      is_ip(f);
      EXPECT_EQ(cut(f).size(), wire_packets(f));
    }
}

TEST(relay_packets, every_flipped_bit_is_found_by_a_checksum) {
  const frame good = cut(tcp_frame(false, 3000, 1400))[1];
  for (uint64_t where = 0; where < (good.bytes.size() - 14) * 8; ++where) {
    frame bad = good;
    flip_bit(bad, where);
    ASSERT_NE(bad.bytes, good.bytes);
    ASSERT_FALSE(checksums_right(bad)) << where;
  }
  // Padding is not what is harmed.
  frame padded = good;
  padded.bytes.resize(good.bytes.size() + 100);
  for (uint64_t where = 0; where < 100'000; where += 7) {
    frame bad = padded;
    flip_bit(bad, where);
    bad.bytes.resize(good.bytes.size());
    ASSERT_NE(bad.bytes, good.bytes);
  }
}

TEST(relay_faults, repeat_and_come_as_often_as_asked) {
  faults f;
  f.drop = 10'000;
  f.flip = 10'000;
  f.drop_these = {3};
  unsigned counts[5] = {};
  for (uint64_t n = 1; n <= 100'000; ++n) {
    const fate what = fate_of(f, 0, n);
    EXPECT_EQ(what, fate_of(f, 0, n));
    ++counts[static_cast<int>(what)];
  }
  EXPECT_EQ(fate_of(f, 1, 3), fate::drop);
  EXPECT_NEAR(counts[static_cast<int>(fate::drop)], 1000, 150);
  EXPECT_NEAR(counts[static_cast<int>(fate::flip)], 990, 150);
  EXPECT_EQ(counts[static_cast<int>(fate::reorder)], 0u);
  // Another seed, and the other direction, meet others.
  faults other = f;
  other.seed = 2;
  unsigned same = 0;
  for (uint64_t n = 1; n <= 100'000; ++n)
    same += fate_of(f, 0, n) == fate::drop && fate_of(other, 0, n) == fate::drop;
  EXPECT_LT(same, 50u);
}
