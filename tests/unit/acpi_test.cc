// sources: arch/x64/acpi.cc arch/x64/acpi_interrupts.cc arch/x64/acpi_virtio_mmio.cc
// sources: arch/x64/acpi_event_device.cc
// ACPI tables built byte by byte from the specification, then truncated and damaged: the parser
// may find less, but never reads outside what it was given (ASan watches every read).
#include "arch/x64/acpi.hh"
#include <cstring>
#include <gtest/gtest.h>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

using namespace oblako;
using bytes = std::vector<uint8_t>;

namespace {

// Physical memory with holes. Every access is answered with a copy of exactly its size, so that one
// byte further is an error.
class machine final : public acpi::physical_memory {
public:
  void put(uint64_t address, const bytes& data) { pieces_[address] = data; }
  bytes& piece(uint64_t address) { return pieces_.at(address); }
  std::map<uint64_t, bytes>& pieces() { return pieces_; }

  const uint8_t* at(uint64_t address, size_t n) override {
    auto it = pieces_.upper_bound(address);
    if (it == pieces_.begin())
      return nullptr;
    --it;
    const uint64_t offset = address - it->first;
    if (offset > it->second.size() || n > it->second.size() - offset)
      return nullptr;
    handed_out_.push_back(std::make_unique<uint8_t[]>(n));
    memcpy(handed_out_.back().get(), it->second.data() + offset, n);
    return handed_out_.back().get();
  }

private:
  std::map<uint64_t, bytes> pieces_;
  std::vector<std::unique_ptr<uint8_t[]>> handed_out_;
};

void set(bytes& b, size_t offset, uint64_t value, size_t n) {
  for (size_t i = 0; i < n; ++i)
    b.at(offset + i) = static_cast<uint8_t>(value >> 8 * i);
}

void fix_sum(bytes& b, size_t at, size_t n) {
  b[at] = 0;
  uint8_t sum = 0;
  for (size_t i = 0; i < n; ++i)
    sum = static_cast<uint8_t>(sum + b[i]);
  b[at] = static_cast<uint8_t>(-sum);
}

bytes table(const char* name, bytes body) {
  bytes t(36);
  memcpy(t.data(), name, 4);
  t.insert(t.end(), body.begin(), body.end());
  set(t, 4, t.size(), 4);
  fix_sum(t, 9, t.size());
  return t;
}

bytes rsdp_v1(uint32_t rsdt) {
  bytes r(20);
  memcpy(r.data(), "RSD PTR ", 8);
  set(r, 16, rsdt, 4);
  fix_sum(r, 8, 20);
  return r;
}

bytes rsdp_v2(uint64_t xsdt) {
  bytes r = rsdp_v1(0);
  r.resize(36);
  r[15] = 2;
  set(r, 20, 36, 4);
  set(r, 24, xsdt, 8);
  fix_sum(r, 8, 20);
  fix_sum(r, 32, 36);
  return r;
}

// FADT fields by their offset in the table (5.2.9).
bytes fadt(std::map<size_t, std::pair<uint64_t, size_t>> fields, size_t size = 276) {
  bytes body(size - 36);
  for (auto [offset, f] : fields)
    set(body, offset - 36, f.first, f.second);
  return table("FACP", body);
}

// Device with ID, memory and interrupt, as an AML compiler lays them out.
bytes mmio_device(uint32_t address, uint32_t gsi) {
  bytes d{0x08, '_', 'H', 'I', 'D',  0x0d, 'L',  'N',  'R',  'O',  '0',  '0',  '0', '5',  0, 0x08,
          '_',  'C', 'R', 'S', 0x11, 0x1a, 0x0a, 0x17, 0x86, 0x09, 0x00, 0x01, 0,   0,    0, 0,
          0,    2,   0,   0,   0x89, 0x06, 0x00, 0x01, 0x01, 0,    0,    0,    0,   0x79, 0};
  set(d, 28, address, 4);
  set(d, 41, gsi, 4);
  return d;
}

const bytes s5_like_a_pc{0x08, '_', 'S', '5', '_', 0x12, 0x06, 0x04, 0x00, 0x0a, 0x05, 0x00, 0x00};

// A PC with everything: XSDT, FADT, MADT with two IOAPICs and overrides, DSDT.
machine pc() {
  machine m;
  bytes dsdt_body{0x10, 0x20, 0x5b};
  dsdt_body.insert(dsdt_body.end(), s5_like_a_pc.begin(), s5_like_a_pc.end());
  m.put(0x5000, table("DSDT", dsdt_body));
  m.put(0x3000, fadt({{40, {0x5000, 4}},
                      {46, {9, 2}},
                      {56, {0x600, 4}},
                      {64, {0x604, 4}},
                      {88, {4, 1}},
                      {112, {1u << 10, 4}},
                      {116, {1, 1}},
                      {120, {0xcf9, 8}},
                      {128, {0x0f, 1}}}));
  m.put(0x4000,
        table("APIC", {0, 0,  0xe0, 0xfe, 1,  0, 0,    0,                   // local APIC, flags
                       0, 8,  0,    0,    1,  0, 0,    0,                   // a processor
                       1, 12, 0,    0,    0,  0, 0xc0, 0xfe, 0,    0, 0, 0, // IOAPIC, GSI 0
                       1, 12, 1,    0,    0,  0, 0xc1, 0xfe, 24,   0, 0, 0, // IOAPIC, GSI 24
                       2, 10, 0,    0,    2,  0, 0,    0,    0,    0,       // IRQ 0 -> 2
                       2, 10, 0,    9,    9,  0, 0,    0,    0x0d, 0,       // SCI: level, high
                       2, 10, 0,    10,   10, 0, 0,    0,    0x0f, 0}));    // level, low
  bytes entries(24);
  set(entries, 0, 0x3000, 8);
  set(entries, 8, 0x4000, 8);
  set(entries, 16, 0x9999000, 8); // points nowhere
  m.put(0x2000, table("XSDT", entries));
  m.put(0xf0000, rsdp_v2(0x2000));
  return m;
}

TEST(acpi, reads_a_pc) {
  machine m = pc();
  acpi::information i;
  ASSERT_TRUE(acpi::parse(m, 0xf0000, i));
  EXPECT_TRUE(i.has_fadt);
  EXPECT_FALSE(i.reduced_hardware);
  EXPECT_EQ(i.sci_irq, 9);
  EXPECT_EQ(i.pm1a_control.address, 0x604u);
  EXPECT_EQ(i.pm1a_control.space, acpi::address_space::port);
  EXPECT_EQ(i.pm1b_control.address, 0u);
  EXPECT_EQ(i.pm1a_event.address, 0x600u);
  EXPECT_EQ(i.pm1_event_bytes, 4);
  EXPECT_EQ(i.reset.address, 0xcf9u);
  EXPECT_EQ(i.reset_value, 0x0f);
  EXPECT_EQ(i.s5_type_a, 0);
  EXPECT_EQ(i.s5_type_b, 5);
  ASSERT_EQ(i.ioapic_count, 2u);
  EXPECT_EQ(i.ioapics[0].address, 0xfec00000u);
  EXPECT_EQ(i.ioapics[1].address, 0xfec10000u);
  EXPECT_EQ(i.ioapics[1].first_gsi, 24u);
  ASSERT_EQ(i.override_count, 3u);
  EXPECT_EQ(i.overrides[0].isa_irq, 0);
  EXPECT_EQ(i.overrides[0].gsi, 2u);
  EXPECT_EQ(i.overrides[0].trigger, arch::trigger::edge);
  EXPECT_EQ(i.overrides[1].trigger, arch::trigger::level);
  EXPECT_EQ(i.overrides[1].polarity, arch::polarity::high);
  EXPECT_EQ(i.overrides[2].polarity, arch::polarity::low);
}

TEST(acpi, reads_a_version_1_machine_through_the_rsdt) {
  machine m = pc();
  bytes entries(8);
  set(entries, 0, 0x3000, 4);
  set(entries, 4, 0x4000, 4);
  m.put(0x2000, table("RSDT", entries));
  m.put(0xf0000, rsdp_v1(0x2000));
  acpi::information i;
  ASSERT_TRUE(acpi::parse(m, 0xf0000, i));
  EXPECT_TRUE(i.has_fadt);
  EXPECT_EQ(i.ioapic_count, 2u);
}

TEST(acpi, reads_a_reduced_hardware_machine_with_virtio_devices) {
  machine m = pc();
  bytes body;
  for (uint32_t k = 0; k < 3; ++k) {
    const bytes d = mmio_device(0xfeb00000 + k * 512, 24 + k);
    body.insert(body.end(), d.begin(), d.end());
  }
  body.insert(body.end(), {0x08, '\\', '_', 'S', '5', '_', 0x12, 0x05, 0x01, 0x0a, 0x05});
  // Device EVNT: _HID, _CRS with an interrupt, a region in memory; as an AML compiler lays it out.
  body.insert(body.end(),
              {0x08, '_',  'H',  'I',  'D',  0x0d, 'A',  'C', 'P',  'I',  '0',  '0', '1',  '3',
               0,    0x89, 0x06, 0x00, 0x03, 0x01, 0x09, 0,   0,    0,    0x79, 0,   0x5b, 0x80,
               'E',  'R',  'E',  'G',  0x00, 0x0c, 0,    0,   0xa0, 0xfe, 0x0a, 0x04});
  m.put(0x5000, table("DSDT", body));
  m.put(0x3000,
        fadt({{112, {1u << 20, 4}}, {140, {0x5000, 8}}, {244, {0, 1}}, {248, {0xfea00020, 8}}}));
  acpi::information i;
  ASSERT_TRUE(acpi::parse(m, 0xf0000, i));
  EXPECT_TRUE(i.reduced_hardware);
  EXPECT_EQ(i.sleep_control.address, 0xfea00020u);
  EXPECT_EQ(i.sleep_control.space, acpi::address_space::memory);
  EXPECT_EQ(i.reset.address, 0u); // the flag that says so is not set
  EXPECT_EQ(i.s5_type_a, 5);
  EXPECT_EQ(i.events.address, 0xfea00000u);
  EXPECT_EQ(i.events.gsi, 9u);
  ASSERT_EQ(i.virtio_mmio_count, 3u);
  EXPECT_EQ(i.virtio_mmio[2].address, 0xfeb00400u);
  EXPECT_EQ(i.virtio_mmio[2].bytes, 512u);
  EXPECT_EQ(i.virtio_mmio[2].gsi, 26u);
}

TEST(acpi, a_wrong_checksum_counts_as_absent) {
  for (uint64_t address : {0x2000u, 0x3000u, 0x4000u, 0x5000u, 0xf0000u}) {
    machine m = pc();
    m.piece(address).back() ^= 1;
    acpi::information i;
    EXPECT_EQ(acpi::parse(m, 0xf0000, i), address != 0x2000 && address != 0xf0000);
    EXPECT_EQ(i.has_fadt, address == 0x4000 || address == 0x5000);
    EXPECT_EQ(i.ioapic_count, address == 0x3000 || address == 0x5000 ? 2u : 0u);
    EXPECT_TRUE(address != 0x5000 || i.s5_type_b == 0);
  }
}

TEST(acpi, a_table_shorter_than_its_fields_gives_zeros) {
  machine m = pc();
  m.put(0x3000, fadt({{40, {0x5000, 4}}, {64, {0x604, 4}}}, 100)); // ends before the flags
  acpi::information i;
  ASSERT_TRUE(acpi::parse(m, 0xf0000, i));
  EXPECT_TRUE(i.has_fadt);
  EXPECT_EQ(i.pm1a_control.address, 0x604u);
  EXPECT_EQ(i.reset.address, 0u);
  EXPECT_EQ(i.s5_type_b, 5);
}

TEST(acpi, madt_entries_that_do_not_add_up_end_the_walk) {
  for (bytes bad : {bytes{1, 0}, bytes{1, 1}, bytes{1, 200, 0, 0}, bytes{1}}) {
    machine m = pc();
    bytes body{0, 0, 0xe0, 0xfe, 1, 0, 0, 0, 1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0};
    body.insert(body.end(), bad.begin(), bad.end());
    m.put(0x4000, table("APIC", body));
    acpi::information i;
    ASSERT_TRUE(acpi::parse(m, 0xf0000, i));
    EXPECT_EQ(i.ioapic_count, 1u);
  }
}

TEST(acpi, more_entries_than_we_keep) {
  machine m = pc();
  bytes body{0, 0, 0xe0, 0xfe, 1, 0, 0, 0};
  for (uint8_t k = 0; k < 40; ++k) {
    body.insert(body.end(), {1, 12, k, 0, 0, 0, 0xc0, 0xfe, k, 0, 0, 0});
    body.insert(body.end(), {2, 10, 0, k, k, 0, 0, 0, 0, 0});
  }
  m.put(0x4000, table("APIC", body));
  bytes dsdt;
  for (uint32_t k = 0; k < 40; ++k) {
    const bytes d = mmio_device(k * 512, k);
    dsdt.insert(dsdt.end(), d.begin(), d.end());
  }
  m.put(0x5000, table("DSDT", dsdt));
  acpi::information i;
  ASSERT_TRUE(acpi::parse(m, 0xf0000, i));
  EXPECT_EQ(i.ioapic_count, acpi::max_ioapics);
  EXPECT_EQ(i.override_count, acpi::max_overrides);
  EXPECT_EQ(i.virtio_mmio_count, acpi::max_virtio_mmio_devices);
}

TEST(acpi, s5_in_every_encoding) {
  struct {
    bytes aml;
    bool found;
    uint8_t a, b;
  } cases[] = {
      {{0x08, '_', 'S', '5', '_', 0x12, 0x06, 0x04, 0x0a, 0x07, 0x0a, 0x06, 0x00, 0x00},
       true,
       7,
       6},
      {{0x08, '_', 'S', '5', '_', 0x12, 0x04, 0x02, 0x01, 0x01}, true, 1, 1},
      {{0x08, '_', 'S', '5', '_', 0x12, 0x44, 0x00, 0x01, 0x0b, 0x05, 0x00}, true, 5, 0},
      {{0x08, '_', 'S', '5', '_', 0x12, 0x04, 0x01, 0x0c, 0x05, 0, 0, 0}, true, 5, 0},
      {{0x08, '_', 'S', '5', '_', 0x12, 0x02, 0x00, 0x00}, false, 0, 0}, // empty package
      {{0x08, '_', 'S', '5', '_', 0x12, 0x06, 0x04}, false, 0, 0},       // ends here
      {{0x08, '_', 'S', '5', '_', 0x12, 0x06, 0x04, 0x0a}, false, 0, 0},
      {{0x08, '_', 'S', '5', '_', 0x12, 0x06, 0x04, 0x01, 0x0b, 0x01}, false, 0, 0},
      {{0x08, '_', 'S', '5', '_', 0x12, 0xff}, false, 0, 0},
      {{0x08, '_', 'S', '5', '_', 0x12}, false, 0, 0},
      {{0x08, '_', 'S', '5', '_'}, false, 0, 0},
      {{'_', 'S', '5', '_', 0x12, 0x06, 0x04, 0x01, 0x01}, false, 0, 0}, // a use, not a name
      {{}, false, 0, 0},
  };
  for (auto& c : cases) {
    auto exact = std::make_unique<uint8_t[]>(c.aml.size());
    std::copy(c.aml.begin(), c.aml.end(), exact.get());
    uint8_t a = 0, b = 0;
    EXPECT_EQ(acpi::find_s5(exact.get(), c.aml.size(), a, b), c.found);
    EXPECT_EQ(a, c.a);
    EXPECT_EQ(b, c.b);
  }
}

TEST(acpi, scan_finds_the_rsdp_in_the_firmware_area) {
  machine m;
  bytes area(0x20000);
  const bytes r = rsdp_v1(0x2000);
  std::copy(r.begin(), r.end(), area.begin() + 0x15000 + 3); // not on a 16-byte boundary
  memcpy(area.data() + 0x14000, "RSD PTR ", 8);              // wrong sum
  m.put(0xe0000, area);
  EXPECT_EQ(acpi::scan_for_rsdp(m), 0u);
  std::copy(r.begin(), r.end(), m.piece(0xe0000).begin() + 0x15ab0);
  EXPECT_EQ(acpi::scan_for_rsdp(m), 0xf5ab0u);
  machine none;
  EXPECT_EQ(acpi::scan_for_rsdp(none), 0u);
}

TEST(acpi, no_tables_at_all) {
  machine m;
  acpi::information i;
  EXPECT_FALSE(acpi::parse(m, 0xf0000, i));
  EXPECT_FALSE(acpi::parse(m, 0, i));
  EXPECT_FALSE(acpi::parse(m, ~uint64_t{0}, i));
}

TEST(acpi, truncated_anywhere_never_reads_outside) {
  machine whole = pc();
  for (auto& [address, data] : whole.pieces())
    for (size_t keep = 0; keep < data.size(); ++keep) {
      machine m = pc();
      m.piece(address).resize(keep);
      acpi::information i;
      acpi::parse(m, 0xf0000, i);
      EXPECT_LE(i.ioapic_count, acpi::max_ioapics);
    }
}

class damaged : public testing::TestWithParam<uint32_t> {};

// Random bytes changed, checksums made right again, so that the damage gets past them.
TEST_P(damaged, never_reads_outside) {
  std::mt19937 random(GetParam());
  for (int round = 0; round < 2000; ++round) {
    machine m = pc();
    for (auto& [address, data] : m.pieces()) {
      for (int n = static_cast<int>(random() % 4); n-- > 0;)
        data[random() % data.size()] = static_cast<uint8_t>(random());
      if (address == 0xf0000) {
        fix_sum(data, 8, 20);
        fix_sum(data, 32, 36);
      } else {
        if (random() % 8)
          set(data, 4, data.size(), 4);
        fix_sum(data, 9, data.size());
      }
    }
    acpi::information i;
    acpi::parse(m, 0xf0000, i);
    EXPECT_LE(i.ioapic_count, acpi::max_ioapics);
    EXPECT_LE(i.override_count, acpi::max_overrides);
    EXPECT_LE(i.virtio_mmio_count, acpi::max_virtio_mmio_devices);
  }
}

INSTANTIATE_TEST_SUITE_P(seeds, damaged, testing::Range(1u, 9u));

} // namespace
