// sources: drivers/pci/config.cc drivers/virtio/pci_capabilities.cc
// PCI configuration space against a fake function: capability lists that loop or point nowhere,
// BARs of every kind, virtio's vendor capabilities with garbage in them.
#include "drivers/virtio/pci_capabilities.hh"
#include <cstring>
#include <gtest/gtest.h>
#include <random>

using namespace oblako;

namespace {

// 256 bytes as the function would show them; BARs answer to sizing as the hardware does.
class fake_function final : public pci::config_space {
public:
  mutable uint8_t bytes[256]{};
  uint32_t bar_writable[6]{}; // which bits of each BAR keep what is written
  mutable bool decoding_while_sized = false;

  uint32_t read32(uint8_t offset) const override {
    EXPECT_EQ(offset % 4, 0);
    uint32_t v;
    memcpy(&v, bytes + offset, 4);
    return v;
  }
  void write32(uint8_t offset, uint32_t value) const override {
    ASSERT_EQ(offset % 4, 0);
    if (offset >= 0x10 && offset < 0x28) {
      const unsigned i = (offset - 0x10) / 4;
      decoding_while_sized |= value == ~0u && (bytes[4] & 3);
      value = (value & bar_writable[i]) | (read32(offset) & ~bar_writable[i]);
    }
    if (offset == 4) // status: writing 1 clears
      value = (value & 0xffff) | (read32(4) & 0xffff0000 & ~value);
    memcpy(bytes + offset, &value, 4);
  }
  void set16(unsigned at, uint16_t v) { memcpy(bytes + at, &v, 2); }
  void set32(unsigned at, uint32_t v) { memcpy(bytes + at, &v, 4); }

  // 4.1.4: struct virtio_pci_cap at `at`, the next one at `next`.
  void vendor_capability(uint8_t at, uint8_t next, uint8_t kind, uint8_t bar, uint32_t offset,
                         uint32_t length, uint8_t size = 16) {
    bytes[at] = 9;
    bytes[at + 1] = next;
    bytes[at + 2] = size;
    bytes[at + 3] = kind;
    bytes[at + 4] = bar;
    set32(at + 8u, offset);
    set32(at + 12u, length);
  }
};

// As QEMU's virtio-net-pci shows itself.
fake_function modern_net() {
  fake_function f;
  f.set16(0, 0x1af4);
  f.set16(2, 0x1041);
  f.set16(6, 0x10); // has a capability list
  f.bytes[0x34] = 0x98;
  f.bytes[0x98] = 0x11; // MSI-X
  f.bytes[0x99] = 0x84;
  f.vendor_capability(0x84, 0x70, 5, 0, 0, 0, 20);
  f.vendor_capability(0x70, 0x60, 2, 4, 0x3000, 0x1000, 20);
  f.set32(0x80, 4); // notify_off_multiplier
  f.vendor_capability(0x60, 0x50, 4, 4, 0x2000, 0x1000);
  f.vendor_capability(0x50, 0x40, 3, 4, 0x1000, 0x1000);
  f.vendor_capability(0x40, 0x00, 1, 4, 0x0000, 0x1000);
  return f;
}

TEST(pci_capabilities, finds_virtio_regions) {
  const fake_function f = modern_net();
  auto r = virtio::find_regions(f);
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(r->common.bar, 4);
  EXPECT_EQ(r->common.offset, 0u);
  EXPECT_EQ(r->notify.offset, 0x3000u);
  EXPECT_EQ(r->notify.length, 0x1000u);
  EXPECT_EQ(r->notify_multiplier, 4u);
  EXPECT_EQ(r->device.offset, 0x2000u);
  EXPECT_EQ(pci::find_capability(f, 0x11, [](uint8_t) { return true; }), 0x98);
}

TEST(pci_capabilities, device_types) {
  fake_function f = modern_net();
  EXPECT_EQ(virtio::virtio_type(f), 1u);
  f.set16(2, 0x1005); // transitional rng: the subsystem ID says so
  f.set16(0x2e, 4);
  EXPECT_EQ(virtio::virtio_type(f), 4u);
  f.set16(2, 0x1110); // ivshmem
  EXPECT_EQ(virtio::virtio_type(f), 0u);
  f.set16(0, 0x8086);
  EXPECT_EQ(virtio::virtio_type(f), 0u);
}

TEST(pci_capabilities, the_first_of_each_kind_wins) {
  fake_function f = modern_net();
  f.vendor_capability(0x40, 0xb0, 1, 4, 0x0000, 0x1000);
  f.vendor_capability(0xb0, 0x00, 1, 2, 0x8000, 0x1000);
  auto r = virtio::find_regions(f);
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(r->common.bar, 4);
}

TEST(pci_capabilities, without_common_or_notify_it_is_no_modern_device) {
  {
    fake_function f = modern_net();
    f.bytes[0x70 + 3] = 0; // notify is of no kind we know
    EXPECT_EQ(virtio::find_regions(f).code(), error::nodev);
  }
  {
    fake_function f = modern_net();
    f.set32(0x40 + 12, 55); // one byte short of the common structure
    EXPECT_EQ(virtio::find_regions(f).code(), error::nodev);
  }
  {
    fake_function f = modern_net();
    f.bytes[0x40 + 4] = 6; // there are six BARs
    EXPECT_EQ(virtio::find_regions(f).code(), error::nodev);
  }
  {
    fake_function f = modern_net();
    f.bytes[0x70 + 2] = 16; // no room for the multiplier
    EXPECT_EQ(virtio::find_regions(f).code(), error::nodev);
  }
  {
    fake_function f = modern_net();
    f.set16(6, 0); // no list
    EXPECT_EQ(virtio::find_regions(f).code(), error::nodev);
    EXPECT_EQ(pci::find_capability(f, 0x11, [](uint8_t) { return true; }), 0);
  }
}

TEST(pci_capabilities, lists_that_loop_end) {
  fake_function f = modern_net();
  f.bytes[0x41] = 0x98; // from the last back to the first
  EXPECT_TRUE(virtio::find_regions(f).ok());
  f.bytes[0x34] = 0x50;
  f.bytes[0x51] = 0x50; // onto itself
  unsigned visits = 0;
  EXPECT_EQ(pci::find_capability(f, 9,
                                 [&](uint8_t) {
                                   ++visits;
                                   return false;
                                 }),
            0);
  EXPECT_LE(visits, 48u);
}

TEST(pci_capabilities, a_capability_at_the_very_end_reads_nothing_outside) {
  fake_function f = modern_net();
  f.bytes[0x34] = 0xfc;
  f.bytes[0xfc] = 9;
  f.bytes[0xfd] = 0;
  f.bytes[0xfe] = 20;
  f.bytes[0xff] = 1;
  EXPECT_EQ(virtio::find_regions(f).code(), error::nodev);
  f.bytes[0x34] = 0x3c; // inside the header: not a capability
  EXPECT_EQ(pci::find_capability(f, 0, [](uint8_t) { return true; }), 0);
}

TEST(pci_bar, memory_bars) {
  fake_function f;
  f.set16(4, 7);
  f.set16(6, 0x10);
  f.set32(0x10, 0xfebd1000); // BAR 0: 4 kB, 32 bits
  f.bar_writable[0] = 0xfffff000;
  f.set32(0x14, 0xc041); // BAR 1: ports
  f.bar_writable[1] = 0xffffffe0;
  f.set32(0x18, 0xe000000c); // BAR 2 and 3: 16 kB, 64 bits, prefetchable, above 4 GB
  f.bar_writable[2] = 0xffffc000;
  f.set32(0x1c, 0x8);
  f.bar_writable[3] = 0xffffffff;
  f.set32(0x20, 0); // BAR 4: none

  auto bar = pci::read_bar(f, 0);
  ASSERT_TRUE(bar.ok());
  EXPECT_EQ(bar->address, 0xfebd1000u);
  EXPECT_EQ(bar->bytes, 0x1000u);
  EXPECT_FALSE(bar->is_64bit);
  EXPECT_EQ(pci::read_bar(f, 1).code(), error::nxio);
  auto high = pci::read_bar(f, 2);
  ASSERT_TRUE(high.ok());
  EXPECT_EQ(high->address, 0x8'e0000000u);
  EXPECT_EQ(high->bytes, 0x4000u);
  EXPECT_EQ(pci::read_bar(f, 4).code(), error::nxio);
  EXPECT_EQ(pci::read_bar(f, 6).code(), error::nxio);

  // Sizing leaves everything as it was, status bits included, and never sizes a decoding BAR.
  EXPECT_EQ(f.read32(0x10), 0xfebd1000u);
  EXPECT_EQ(f.read32(0x18), 0xe000000cu);
  EXPECT_EQ(f.read32(0x1c), 0x8u);
  EXPECT_EQ(f.read32(4), 0x00100007u);
  EXPECT_FALSE(f.decoding_while_sized);
}

TEST(pci_bar, a_64_bit_bar_above_4_gb) {
  fake_function f;
  f.set32(0x20, 0xe000000c);
  f.bar_writable[4] = 0xffffc000;
  f.set32(0x24, 0x38);
  f.bar_writable[5] = 0xffffffff;
  auto bar = pci::read_bar(f, 4);
  ASSERT_TRUE(bar.ok());
  EXPECT_EQ(bar->address, 0x38'e0000000u);
  EXPECT_EQ(bar->bytes, 0x4000u);
  EXPECT_TRUE(bar->is_64bit);
  pci::write_bar(f, 4, 0x12'34560000, true);
  EXPECT_EQ(pci::read_bar(f, 4)->address, 0x12'34560000u);
}

TEST(pci_bar, unassigned_and_nonsense) {
  fake_function f;
  f.set32(0x20, 0x4);
  f.bar_writable[4] = 0xffffc000;
  f.bar_writable[5] = 0xffffffff;
  auto bar = pci::read_bar(f, 4);
  ASSERT_TRUE(bar.ok());
  EXPECT_EQ(bar->address, 0u);
  EXPECT_EQ(bar->bytes, 0x4000u);
  f.bar_writable[4] = 0xfff0f000; // not the mask of a power of two
  EXPECT_EQ(pci::read_bar(f, 4).code(), error::nxio);
  f.bar_writable[4] = 0;
  f.bar_writable[5] = 0;
  EXPECT_EQ(pci::read_bar(f, 4).code(), error::nxio);
  f.set32(0x24, 0x4); // 64 bits that would need a seventh BAR
  EXPECT_EQ(pci::read_bar(f, 5).code(), error::nxio);
}

TEST(pci_random, garbage_everywhere) {
  std::mt19937 random(7);
  for (int round = 0; round < 20000; ++round) {
    fake_function f = round % 2 ? modern_net() : fake_function{};
    if (round % 2 == 0)
      for (uint8_t& b : f.bytes)
        b = static_cast<uint8_t>(random());
    for (int n = 0; n < 8; ++n)
      f.bytes[random() % 256] = static_cast<uint8_t>(random());
    for (uint32_t& w : f.bar_writable)
      w = random() % 2 ? static_cast<uint32_t>(random()) : ~0u << random() % 32;
    auto r = virtio::find_regions(f);
    if (r.ok()) {
      EXPECT_LE(r->common.bar, 5);
      EXPECT_LE(r->notify.bar, 5);
      EXPECT_GE(r->common.length, 56u);
    }
    virtio::virtio_type(f);
    for (unsigned i = 0; i < 7; ++i) {
      auto bar = pci::read_bar(f, i);
      EXPECT_TRUE(!bar.ok() || (bar->bytes && (bar->bytes & (bar->bytes - 1)) == 0));
    }
  }
}

} // namespace
