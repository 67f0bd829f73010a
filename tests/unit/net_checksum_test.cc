// What is asked of a device that fills in transport checksums.
// sources: core/net/checksum.cc
#include "core/net/checksum.hh"
#include <gtest/gtest.h>
#include <string.h>
#include <vector>

using namespace oblako::net;

namespace {

using bytes = std::vector<uint8_t>;

uint16_t ones_sum(const uint8_t* p, size_t n, uint32_t sum = 0) {
  for (size_t i = 0; i < n; ++i)
    sum += i % 2 ? p[i] : uint32_t{p[i]} << 8;
  while (sum >> 16)
    sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

// What the device does with the request (virtio 1.1, 5.1.6.2).
void device_fills_in(bytes& frame, const transmit_offload& offload) {
  const uint16_t sum =
      ones_sum(&frame[offload.checksum_start], frame.size() - offload.checksum_start);
  uint8_t* field = &frame[offload.checksum_start + offload.checksum_offset];
  field[0] = static_cast<uint8_t>(~sum >> 8);
  field[1] = static_cast<uint8_t>(~sum);
}

// The receiver's test: pseudo-header and segment add up to all ones.
bool verifies(const bytes& frame, size_t transport, uint8_t protocol, bool ipv6) {
  const uint8_t* addresses = ipv6 ? &frame[22] : &frame[26];
  uint32_t sum = ones_sum(addresses, ipv6 ? 32 : 8);
  sum += protocol + static_cast<uint32_t>(frame.size() - transport);
  return ones_sum(&frame[transport], frame.size() - transport, sum) == 0xffff;
}

bytes ipv4_frame(uint8_t protocol, size_t payload, unsigned option_words = 0) {
  bytes f(14 + 20 + 4 * option_words + payload);
  f[12] = 0x08, f[13] = 0x00;
  uint8_t* ip = &f[14];
  ip[0] = static_cast<uint8_t>(0x45 + option_words);
  ip[9] = protocol;
  for (unsigned i = 0; i < 8; ++i)
    ip[12 + i] = static_cast<uint8_t>(0xa0 + 7 * i);
  for (size_t i = 14 + 20 + 4 * option_words; i < f.size(); ++i)
    f[i] = static_cast<uint8_t>(i * 31);
  return f;
}

void clear_field(bytes& f, size_t at) {
  f[at] = f[at + 1] = 0;
}

TEST(net_checksum, TcpOverIpv4) {
  for (size_t payload : {20u, 21u, 40u, 1480u}) {
    bytes f = ipv4_frame(6, payload);
    clear_field(f, 14 + 20 + 16);
    transmit_offload o;
    request_checksum(f.data(), static_cast<uint32_t>(f.size()), static_cast<uint32_t>(f.size()), o);
    ASSERT_TRUE(o.needs_checksum);
    EXPECT_EQ(o.checksum_start, 34);
    EXPECT_EQ(o.checksum_offset, 16);
    device_fills_in(f, o);
    EXPECT_TRUE(verifies(f, 34, 6, false)) << payload;
  }
}

TEST(net_checksum, UdpWithIpOptions) {
  bytes f = ipv4_frame(17, 30, 3);
  clear_field(f, 14 + 32 + 6);
  transmit_offload o;
  request_checksum(f.data(), static_cast<uint32_t>(f.size()), static_cast<uint32_t>(f.size()), o);
  ASSERT_TRUE(o.needs_checksum);
  EXPECT_EQ(o.checksum_start, 46);
  EXPECT_EQ(o.checksum_offset, 6);
  device_fills_in(f, o);
  EXPECT_TRUE(verifies(f, 46, 17, false));
}

TEST(net_checksum, TcpOverIpv6) {
  bytes f(14 + 40 + 25);
  for (size_t i = 0; i < f.size(); ++i)
    f[i] = static_cast<uint8_t>(i * 13);
  f[12] = 0x86, f[13] = 0xdd, f[14 + 6] = 6;
  clear_field(f, 54 + 16);
  transmit_offload o;
  request_checksum(f.data(), static_cast<uint32_t>(f.size()), static_cast<uint32_t>(f.size()), o);
  ASSERT_TRUE(o.needs_checksum);
  EXPECT_EQ(o.checksum_start, 54);
  device_fills_in(f, o);
  EXPECT_TRUE(verifies(f, 54, 6, true));
}

// The payload may lie elsewhere: only the headers have to be there.
TEST(net_checksum, HeadersOnlyInTheFirstPiece) {
  bytes f = ipv4_frame(6, 1000);
  clear_field(f, 50);
  transmit_offload o;
  request_checksum(f.data(), 54, static_cast<uint32_t>(f.size()), o);
  ASSERT_TRUE(o.needs_checksum);
  device_fills_in(f, o);
  EXPECT_TRUE(verifies(f, 34, 6, false));
}

// virtio 1.1, 5.1.6.2: the packets' payload, and where it begins.
TEST(net_checksum, LargeSegments) {
  bytes f = ipv4_frame(6, 3000);
  f[34 + 12] = 8 << 4; // 12 bytes of options
  transmit_offload o;
  request_segmentation(f.data(), static_cast<uint32_t>(f.size()), 1448, o);
  EXPECT_EQ(o.gso_type, 0); // not without a checksum
  request_checksum(f.data(), 66, static_cast<uint32_t>(f.size()), o);
  request_segmentation(f.data(), 66, 1448, o);
  EXPECT_EQ(o.gso_type, 1);
  EXPECT_EQ(o.gso_size, 1448);
  EXPECT_EQ(o.header_length, 14 + 20 + 32);

  bytes v6(14 + 40 + 4000);
  v6[12] = 0x86, v6[13] = 0xdd, v6[14 + 6] = 6, v6[54 + 12] = 5 << 4;
  o = {};
  request_checksum(v6.data(), 74, static_cast<uint32_t>(v6.size()), o);
  request_segmentation(v6.data(), 74, 1440, o);
  EXPECT_EQ(o.gso_type, 4);
  EXPECT_EQ(o.gso_size, 1440);
  EXPECT_EQ(o.header_length, 14 + 40 + 20);
}

TEST(net_checksum, LeavesTheRestAlone) {
  const auto asked = [](bytes f, uint32_t contiguous) {
    const bytes before = f;
    transmit_offload o;
    request_checksum(f.data(), contiguous, static_cast<uint32_t>(before.size()), o);
    EXPECT_EQ(f, before);
    return o.needs_checksum;
  };
  EXPECT_FALSE(asked(ipv4_frame(1, 40), 74)); // ICMP
  bytes fragment = ipv4_frame(17, 40);
  fragment[20] = 0x20; // more fragments
  EXPECT_FALSE(asked(fragment, 74));
  fragment[20] = 0, fragment[21] = 5; // a later one
  EXPECT_FALSE(asked(fragment, 74));
  bytes arp(42);
  arp[12] = 8, arp[13] = 6;
  EXPECT_FALSE(asked(arp, 42));
  for (uint32_t cut : {0u, 13u, 20u, 33u, 40u, 51u})
    EXPECT_FALSE(asked(ipv4_frame(6, 40), cut)) << cut;
}

TEST(net_checksum, SumsOfEveryLengthAndAlignment) {
  bytes data(300);
  for (size_t i = 0; i < data.size(); ++i)
    data[i] = static_cast<uint8_t>(i % 5 ? i * 77 : 0xff);
  for (size_t start = 0; start < 5; ++start)
    for (size_t n = 0; n < 290; ++n) {
      const uint16_t sum = ones_sum(&data[start], n);
      const uint16_t as_in_memory = static_cast<uint16_t>(sum >> 8 | sum << 8);
      ASSERT_EQ(oblako_checksum(&data[start], static_cast<int>(n)), as_in_memory) << start << n;
    }
  const bytes ones(65535, 0xff);
  EXPECT_EQ(oblako_checksum(ones.data(), 65534), 0xffff);
}

TEST(net_checksum, Fragments) {
  bytes f = ipv4_frame(6, 20);
  EXPECT_FALSE(is_fragment(0x0800, &f[14], 40));
  f[20] = 0x40; // do not fragment
  EXPECT_FALSE(is_fragment(0x0800, &f[14], 40));
  f[20] = 0x20;
  EXPECT_TRUE(is_fragment(0x0800, &f[14], 40));
  EXPECT_FALSE(is_fragment(0x0806, &f[14], 40));
  bytes v6(60);
  v6[6] = 44;
  EXPECT_TRUE(is_fragment(0x86dd, v6.data(), 60));
  EXPECT_FALSE(is_fragment(0x86dd, v6.data(), 39));
}

} // namespace
