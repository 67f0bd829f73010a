// The network's command-line options and the keyed hash behind sequence numbers.
// sources: core/net/address_config.cc
#include "core/net/address_config.hh"
#include "core/net/siphash.hh"
#include <gtest/gtest.h>

using namespace oblako::net;

namespace {

struct outcome {
  bool good;
  ipv4_config config;
  option_complaint complaint;
};

outcome parse(const char* ip, const char* gateway = nullptr, const char* servers = nullptr) {
  outcome o{};
  o.complaint = parse_ipv4_config(ip, gateway, servers, o.config);
  o.good = !o.complaint.name;
  return o;
}

TEST(net_config, TakesWhatIsRight) {
  const outcome o = parse("172.44.0.2/24", "172.44.0.1", "1.1.1.1,8.8.8.8");
  ASSERT_TRUE(o.good);
  // Network byte order: the first byte in memory is the first of the address.
  EXPECT_EQ(o.config.address, 0x02002cacu);
  EXPECT_EQ(o.config.mask, 0x00ffffffu);
  EXPECT_EQ(o.config.gateway, 0x01002cacu);
  ASSERT_EQ(o.config.name_server_count, 2u);
  EXPECT_EQ(o.config.name_servers[0], 0x01010101u);
  EXPECT_EQ(o.config.name_servers[1], 0x08080808u);
}

TEST(net_config, MasksOfEveryLength) {
  EXPECT_EQ(parse("10.0.0.1/32").config.mask, 0xffffffffu);
  EXPECT_EQ(parse("10.0.0.1/8").config.mask, 0x000000ffu);
  EXPECT_EQ(parse("10.0.0.1/1").config.mask, 0x00000080u);
  EXPECT_EQ(parse("10.0.0.1/23").config.mask, 0x00feffffu);
}

TEST(net_config, WithoutGatewayAndNameServers) {
  const outcome o = parse("10.1.2.3/8");
  ASSERT_TRUE(o.good);
  EXPECT_EQ(o.config.gateway, 0u);
  EXPECT_EQ(o.config.name_server_count, 0u);
}

TEST(net_config, ComplainsAboutTheRest) {
  for (const char* ip :
       {"", "1.2.3/24", "1.2.3.4", "1.2.3.4/", "1.2.3.4/33", "1.2.3.4/0", "1.2.3.256/24",
        "1.2.3.4/24x", "a.b.c.d/24", "1..2.3/24", "0.0.0.0/8", "224.0.0.1/24", "127.0.0.1/8",
        "10.0.0.0/24", "10.0.0.255/24", "1.2.3.4/99999999999", "00000001.2.3.4/24"}) {
    const outcome o = parse(ip);
    EXPECT_FALSE(o.good) << ip;
    EXPECT_STREQ(o.complaint.name, "ip");
    EXPECT_STREQ(o.complaint.value, ip);
    EXPECT_NE(o.complaint.what, nullptr);
  }
  for (const char* gateway : {"", "10.0.0", "10.0.0.1/8", "11.0.0.1", "10.0.0.2", "0.0.0.0"})
    EXPECT_FALSE(parse("10.0.0.2/8", gateway).good) << gateway;
  for (const char* servers : {"", "1.1.1.1,", ",1.1.1.1", "1.1.1.1;2.2.2.2", "name"})
    EXPECT_FALSE(parse("10.0.0.2/8", nullptr, servers).good) << servers;
}

// Clouds give a host a network of its own, with the router beside it.
TEST(net_config, GatewayBesideANetworkOfOneAddress) {
  EXPECT_TRUE(parse("10.0.0.2/32", "172.31.1.1").good);
  EXPECT_FALSE(parse("10.0.0.2/31", "172.31.1.1").good);
  EXPECT_TRUE(parse("10.0.0.2/31", "10.0.0.3").good);
}

TEST(net_config, MoreNameServersThanItKeeps) {
  const outcome o = parse("10.0.0.2/8", nullptr, "1.1.1.1,2.2.2.2,3.3.3.3,4.4.4.4");
  ASSERT_TRUE(o.good);
  EXPECT_EQ(o.config.name_server_count, ipv4_config::max_name_servers);
  EXPECT_TRUE(o.config.more_name_servers);
  EXPECT_FALSE(parse("10.0.0.2/8", nullptr, "1.1.1.1,2.2.2.2,3.3.3.3").config.more_name_servers);
}

// The test vectors of the reference: key 00 01 .. 0f, input 00 01 02 ..
TEST(siphash, ReferenceVectors) {
  const siphash_key key{0x0706050403020100, 0x0f0e0d0c0b0a0908};
  uint8_t input[16];
  for (unsigned i = 0; i < sizeof input; ++i)
    input[i] = static_cast<uint8_t>(i);
  EXPECT_EQ(siphash_2_4(key, input, 0), 0x726fdb47dd0e0e31u);
  EXPECT_EQ(siphash_2_4(key, input, 1), 0x74f839c593dc67fdu);
  EXPECT_EQ(siphash_2_4(key, input, 8), 0x93f5f5799a932462u);
  EXPECT_EQ(siphash_2_4(key, input, 15), 0xa129ca6149be45e5u);
}

TEST(capture_target, PortOfTheGatewayOrAddress) {
  capture_target t;
  ASSERT_TRUE(parse_capture_target("5555", t));
  EXPECT_EQ(t.address, 0u);
  EXPECT_EQ(t.port, 5555);
  ASSERT_TRUE(parse_capture_target("10.0.2.2:65535", t));
  EXPECT_EQ(t.address, 0x0202000au);
  EXPECT_EQ(t.port, 65535);
  for (const char* wrong :
       {"", "0", "65536", "10.0.2.2", "10.0.2:5", "10.0.2.2:", ":5", "5x", "1:2:3"})
    EXPECT_FALSE(parse_capture_target(wrong, t)) << wrong;
}

} // namespace
