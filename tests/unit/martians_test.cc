// sources:
// Addresses that packets on a wire may come from and go to.
#include "core/net/martians.hh"

#include <arpa/inet.h>
#include <cstring>
#include <gtest/gtest.h>

namespace oblako::net {
namespace {

uint32_t v4(const char* text) {
  return inet_addr(text);
}

struct v6 {
  explicit v6(const char* text) { EXPECT_EQ(inet_pton(AF_INET6, text, words), 1) << text; }
  uint32_t words[4];
};

TEST(martians, ipv4) {
  for (const char* bad : {"0.0.0.0", "0.255.1.1", "127.0.0.1", "127.255.255.255", "224.0.0.0",
                          "239.255.255.255", "240.0.0.0", "255.255.255.255"})
    EXPECT_TRUE(never_source(v4(bad))) << bad;
  for (const char* good : {"1.0.0.1", "10.0.0.0", "126.255.255.255", "128.0.0.1", "223.255.255.255",
                           "169.254.1.1", "192.0.2.1"}) {
    EXPECT_FALSE(never_source(v4(good))) << good;
    EXPECT_FALSE(never_destination(v4(good))) << good;
  }
  for (const char* bad : {"0.0.0.0", "0.1.1.1", "127.0.0.1", "240.0.0.1", "255.255.255.254"})
    EXPECT_TRUE(never_destination(v4(bad))) << bad;
  for (const char* good : {"224.0.0.1", "239.1.1.1", "255.255.255.255"})
    EXPECT_FALSE(never_destination(v4(good))) << good;
}

TEST(martians, ipv6) {
  for (const char* bad : {"::", "::1", "::2", "::10.0.0.1", "::ffff:10.0.0.1", "::ffff:0:0",
                          "ff02::1", "ff05::2", "ff00::"})
    EXPECT_TRUE(never_source(v6(bad).words)) << bad;
  for (const char* good : {"fe80::1", "fd00::1", "2001:db8::1", "64:ff9b::1.2.3.4", "::fffe:0:1"}) {
    EXPECT_FALSE(never_source(v6(good).words)) << good;
    EXPECT_FALSE(never_destination(v6(good).words)) << good;
  }
  for (const char* bad : {"::", "::1", "::10.0.0.1", "::ffff:10.0.0.1", "ff01::1", "ff00::1"})
    EXPECT_TRUE(never_destination(v6(bad).words)) << bad;
  for (const char* good : {"ff02::1", "ff02::1:ff00:1", "ff0e::1", "ff12::1"})
    EXPECT_FALSE(never_destination(v6(good).words)) << good;
}

} // namespace
} // namespace oblako::net
