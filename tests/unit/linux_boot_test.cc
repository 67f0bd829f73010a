// Linux's zero page, written here byte by byte at the offsets of zero-page.rst and boot.rst.
// sources: arch/x64/linux_boot.cc
#include "arch/x64/linux_boot.hh"
#include <cstring>
#include <gtest/gtest.h>

namespace {

using namespace oblako;

struct page {
  alignas(4096) uint8_t bytes[4096] = {};

  // What Firecracker fills in: no protocol version.
  page() {
    put<uint16_t>(0x1fe, 0xaa55);
    put<uint32_t>(0x202, 0x53726448);
    put<uint8_t>(0x210, 0xff);
    put<uint32_t>(0x228, 0x20000);
    entry(0, 0, 0x9fc00, 1);
    entry(1, 0x100000, 0x7f00000, 1);
    put<uint8_t>(0x1e8, 2);
  }
  template <class T>
  void put(size_t offset, T value) {
    memcpy(bytes + offset, &value, sizeof(value));
  }
  void entry(size_t i, uint64_t start, uint64_t length, uint32_t type) {
    put(0x2d0 + 20 * i, start);
    put(0x2d0 + 20 * i + 8, length);
    put(0x2d0 + 20 * i + 16, type);
  }
  const char* read() { return arch::read_zero_page(bytes, info, command_line); }

  arch::boot_info info;
  uint64_t command_line = 1;
};

TEST(linux_boot, what_a_monitor_fills_in_is_enough) {
  page p;
  ASSERT_EQ(p.read(), nullptr);
  EXPECT_EQ(p.command_line, 0x20000u);
  EXPECT_EQ(p.info.rsdp, 0u);
  ASSERT_EQ(p.info.memory_ranges, 2u);
  EXPECT_EQ(p.info.memory_map[0].start, 0u);
  EXPECT_EQ(p.info.memory_map[0].bytes, 0x9fc00u);
  EXPECT_EQ(p.info.memory_map[0].type, 1u);
  EXPECT_EQ(p.info.memory_map[1].start, 0x100000u);
  EXPECT_EQ(p.info.memory_map[1].bytes, 0x7f00000u);
}

TEST(linux_boot, the_upper_half_of_the_command_lines_address) {
  page p;
  p.put<uint32_t>(0xc8, 3);
  ASSERT_EQ(p.read(), nullptr);
  EXPECT_EQ(p.command_line, 0x300020000u);
}

TEST(linux_boot, no_command_line) {
  page p;
  p.put<uint32_t>(0x228, 0);
  ASSERT_EQ(p.read(), nullptr);
  EXPECT_EQ(p.command_line, 0u);
}

TEST(linux_boot, a_full_memory_map_keeps_every_entry) {
  page p;
  for (unsigned i = 0; i < 128; i++)
    p.entry(i, uint64_t{i} << 32 | 0x1000, 0x100000000 - i, i % 5 + 1);
  p.put<uint8_t>(0x1e8, 128);
  ASSERT_EQ(p.read(), nullptr);
  ASSERT_EQ(p.info.memory_ranges, 128u);
  for (unsigned i = 0; i < 128; i++) {
    EXPECT_EQ(p.info.memory_map[i].start, uint64_t{i} << 32 | 0x1000);
    EXPECT_EQ(p.info.memory_map[i].bytes, 0x100000000 - i);
    EXPECT_EQ(p.info.memory_map[i].type, i % 5 + 1);
  }
}

TEST(linux_boot, acpi_root_from_version_2_14_on_or_without_a_version) {
  const struct {
    uint16_t version;
    bool known;
  } cases[] = {{0, true}, {0x20c, false}, {0x20d, false}, {0x20e, true}, {0x20f, true}};
  for (const auto& c : cases) {
    page p;
    p.put<uint64_t>(0x70, 0xe0000);
    p.put<uint16_t>(0x206, c.version);
    ASSERT_EQ(p.read(), nullptr);
    EXPECT_EQ(p.info.rsdp, c.known ? 0xe0000u : 0u) << c.version;
  }
}

TEST(linux_boot, a_wrong_page_is_told_apart) {
  page no_header, no_flag, old, empty, too_many;
  no_header.put<uint32_t>(0x202, 0x48726453);
  no_flag.put<uint16_t>(0x1fe, 0x55aa);
  old.put<uint16_t>(0x206, 0x20b);
  empty.put<uint8_t>(0x1e8, 0);
  too_many.put<uint8_t>(0x1e8, 129);
  EXPECT_TRUE(strstr(no_header.read(), "HdrS"));
  EXPECT_TRUE(strstr(no_flag.read(), "HdrS"));
  EXPECT_TRUE(strstr(old.read(), "version"));
  EXPECT_TRUE(strstr(empty.read(), "memory map"));
  EXPECT_TRUE(strstr(too_many.read(), "memory map"));
}

} // namespace
