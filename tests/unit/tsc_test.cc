// Who tells the TSC's frequency and the time of day: hypervisor, KVM's clock, crystal, PIT, RTC.
// sources: arch/x64/cpu_features.cc
#include "arch/x64/tsc.cc" // included, so that each case starts with clocks nobody has read yet
#include "tests/unit/fake_processor.hh"
#include <vector>

namespace {

using namespace oblako;
using namespace oblako::test;
using arch::tsc_source;

constexpr uint64_t image_base = 0xffffffffc0000000; // physical = virtual - base
constexpr char kvm[] = "KVMKVMKVM\0\0\0", tcg[] = "TCGTCGTCGTCG", other[] = "XenVMMXenVMM";

// KVM's side of the clocks: fills in the structure at the address it is given.
struct clock_values {
  uint32_t multiplier = 0;
  int8_t shift = 0;
  uint64_t tsc_timestamp = 0, system_time = 0;
  uint32_t wall_seconds = 0, wall_nanoseconds = 0;
} told;

void kvm_writes(uint32_t index, uint64_t value) {
  auto* at = reinterpret_cast<uint8_t*>((value & ~uint64_t{1}) + image_base);
  const uint32_t version = 2;
  memcpy(at, &version, 4);
  if (index == 0x12 || index == 0x4b564d01) {
    EXPECT_TRUE(value & 1) << "the enable bit";
    EXPECT_EQ(value & 2, 0u);
    memcpy(at + 8, &told.tsc_timestamp, 8);
    memcpy(at + 16, &told.system_time, 8);
    memcpy(at + 24, &told.multiplier, 4);
    memcpy(at + 28, &told.shift, 1);
  } else {
    EXPECT_EQ(value & 3, 0u) << "4-byte aligned, no flags";
    memcpy(at + 4, &told.wall_seconds, 4);
    memcpy(at + 8, &told.wall_nanoseconds, 4);
  }
}

class tsc : public testing::Test {
protected:
  tsc() {
    memset(const_cast<arch::pvclock_time*>(&arch::system_clock), 0, sizeof(arch::system_clock));
    memset(const_cast<arch::pvclock_wall*>(&arch::wall_clock), 0, sizeof(arch::wall_clock));
    told = {};
    cpu.on_write = kvm_writes;
  }
  void kvm_with(uint32_t features, std::vector<uint32_t> msrs, uint32_t highest = 0x40000001) {
    cpu.hypervisor(kvm, highest);
    cpu.leaves[0x40000001] = {features, 0, 0, 0};
    for (const uint32_t m : msrs)
      cpu.msrs[m] = 0;
  }
  arch::tsc_frequency frequency() {
    cpu.detect();
    return arch::tsc_frequency_at_boot();
  }
  void expect(uint64_t hz, tsc_source source) {
    const auto f = frequency();
    EXPECT_EQ(f.hz, hz);
    EXPECT_EQ(f.source, source);
  }
  fake_processor cpu;
};

TEST_F(tsc, nobody_knows) {
  expect(2'500'000'000, tsc_source::reference);
  EXPECT_TRUE(cpu.written.empty());
  EXPECT_EQ(cpu.port_accesses, 0u) << "measuring starts when the clock is used";
}

TEST_F(tsc, the_hypervisors_leaf) {
  cpu.hypervisor(kvm, 0x40000010);
  cpu.leaves[0x40000001] = {1u << 3, 0, 0, 0};
  cpu.leaves[0x40000010] = {2'899'886, 1'000'000, 0, 0};
  expect(2'899'886'000, tsc_source::cpuid);
  EXPECT_TRUE(cpu.written.empty()) << "no MSR is needed then";
}

TEST_F(tsc, a_hypervisor_of_another_kind_may_have_the_leaf_too) {
  cpu.hypervisor(other, 0x40000010);
  cpu.leaves[0x40000010] = {3'000'000, 0, 0, 0};
  expect(3'000'000'000, tsc_source::cpuid);
}

TEST_F(tsc, leaves_without_the_hypervisor_bit_mean_nothing) {
  cpu.hypervisor(kvm, 0x40000010);
  cpu.leaves[0x40000010] = {3'000'000, 0, 0, 0};
  cpu.leaves[1].ecx = 0;
  expect(2'500'000'000, tsc_source::reference);
}

TEST_F(tsc, a_leaf_beyond_the_highest_means_nothing) {
  cpu.hypervisor(tcg, 0x40000001);
  cpu.leaves[0x40000010] = {3'000'000, 0, 0, 0};
  expect(2'500'000'000, tsc_source::reference);
}

TEST_F(tsc, an_empty_leaf_goes_on_to_kvms_clock) {
  kvm_with(1u << 3, {0x4b564d00, 0x4b564d01}, 0x40000010);
  cpu.leaves[0x40000010] = {0, 0, 0, 0};
  told.multiplier = 0x80000000; // half a nanosecond a tick
  expect(2'000'000'000, tsc_source::kvmclock);
}

TEST_F(tsc, kvms_clock_new_and_old) {
  told.multiplier = 0x80000000;
  kvm_with(1u << 3 | 1u << 0, {0x4b564d00, 0x4b564d01});
  expect(2'000'000'000, tsc_source::kvmclock);
  ASSERT_EQ(cpu.written.size(), 1u);
  EXPECT_EQ(cpu.written[0].first, 0x4b564d01u);
  cpu.written.clear();
  cpu.msrs.clear();
  kvm_with(1u << 0, {0x11, 0x12});
  expect(2'000'000'000, tsc_source::kvmclock);
  ASSERT_EQ(cpu.written.size(), 1u);
  EXPECT_EQ(cpu.written[0].first, 0x12u);
}

TEST_F(tsc, kvms_multiplier_has_a_shift) {
  kvm_with(1u << 3, {0x4b564d00, 0x4b564d01});
  told.multiplier = 0xaaaaaaab; // 2/3 ns for half a tick
  told.shift = -1;
  EXPECT_NEAR(static_cast<double>(frequency().hz), 3e9, 10);
  told.multiplier = 0x80000000;
  told.shift = 1;
  expect(1'000'000'000, tsc_source::kvmclock);
}

TEST_F(tsc, a_kvm_without_a_clock) {
  kvm_with(0, {});
  expect(2'500'000'000, tsc_source::reference);
  kvm_with(1u << 3, {0x4b564d00, 0x4b564d01}); // and one that leaves the structure empty
  expect(2'500'000'000, tsc_source::reference);
}

TEST_F(tsc, kvms_clock_is_believed_before_the_processors_leaf) {
  kvm_with(1u << 3, {0x4b564d00, 0x4b564d01});
  told.multiplier = 0x80000000;
  cpu.leaf(0x15, {2, 200, 25'000'000, 0}); // the host's 2.5 GHz, scaled by KVM
  expect(2'000'000'000, tsc_source::kvmclock);
}

TEST_F(tsc, the_processors_crystal) {
  cpu.leaf(0x15, {2, 216, 24'000'000, 0});
  expect(2'592'000'000, tsc_source::cpuid);
}

TEST_F(tsc, an_incomplete_crystal_leaf_is_not_divided_by) {
  for (const arch::cpuid_result& r :
       {arch::cpuid_result{0, 216, 24'000'000, 0}, arch::cpuid_result{2, 0, 24'000'000, 0},
        arch::cpuid_result{2, 216, 0, 0}}) {
    cpu.leaf(0x15, r);
    expect(2'500'000'000, tsc_source::reference);
  }
}

TEST_F(tsc, the_nominal_frequency_is_a_first_guess_only) {
  cpu.leaf(0x15, {2, 242, 0, 0});
  cpu.leaf(0x16, {2900, 3900, 100, 0});
  expect(2'900'000'000, tsc_source::reference);
}

// The TSC is counted by even where nothing calls it invariant (leaf 0x80000007, edx bit 8): TCG's
// does not say so, and a VM has no other clock as cheap. What is told is believed either way.
TEST_F(tsc, no_invariant_tsc) {
  cpu.leaves[0x80000007] = {0, 0, 0, 0};
  cpu.hypervisor(kvm, 0x40000010);
  cpu.leaves[0x40000010] = {2'000'000, 0, 0, 0};
  expect(2'000'000'000, tsc_source::cpuid);
  cpu.leaves[0x80000007] = {0, 0, 0, 1u << 8};
  expect(2'000'000'000, tsc_source::cpuid);
}

TEST_F(tsc, the_pit_counts_up_for_its_reader) {
  const arch::reference_clock* pit = arch::start_tsc_reference();
  EXPECT_EQ(pit->hz, 1'193'182u);
  const uint64_t first = pit->read();
  cpu.tsc += cpu.tsc_hz / 100; // 10 ms
  EXPECT_NEAR(static_cast<double>((pit->read() - first) & pit->mask), 11931, 2);
}

TEST_F(tsc, wall_clock_of_kvm) {
  kvm_with(1u << 3, {0x4b564d00, 0x4b564d01});
  told.multiplier = 0x80000000;
  told.tsc_timestamp = cpu.tsc;
  told.system_time = 5'000'000'000;
  told.wall_seconds = 1'700'000'000;
  told.wall_nanoseconds = 7;
  cpu.detect();
  cpu.tsc += 2'000'000; // 1 ms later
  auto ns = arch::read_wall_clock(1);
  ASSERT_TRUE(ns.ok());
  EXPECT_EQ(ns->ns, 1'700'000'005'000'000'007u + 1'000'000);
}

TEST_F(tsc, wall_clock_of_an_old_kvm) {
  kvm_with(1u << 0, {0x11, 0x12});
  told.multiplier = 0x80000000;
  told.tsc_timestamp = cpu.tsc;
  told.wall_seconds = 1'700'000'000;
  cpu.detect();
  auto ns = arch::read_wall_clock(1);
  ASSERT_TRUE(ns.ok());
  EXPECT_EQ(ns->ns, 1'700'000'000'000'000'000u);
}

TEST_F(tsc, wall_clock_of_the_rtc) {
  cpu.detect();
  // BCD, 24 hours: 2026-02-28 23:59:58.
  cpu.rtc = {{0, 0x58}, {2, 0x59},    {4, 0x23},    {7, 0x28},   {8, 0x02},
             {9, 0x26}, {0x0a, 0x26}, {0x0b, 0x02}, {0x0d, 0x80}};
  ASSERT_TRUE(arch::read_wall_clock(1).ok());
  EXPECT_EQ(arch::read_wall_clock(1)->ns, 1'772'323'198'000'000'000u);
  // Binary, 12 hours, afternoon: the same.
  cpu.rtc = {{0, 58}, {2, 59},      {4, 0x80 | 11}, {7, 28},     {8, 2},
             {9, 26}, {0x0a, 0x26}, {0x0b, 0x04},   {0x0d, 0x80}};
  EXPECT_EQ(arch::read_wall_clock(1)->ns, 1'772'323'198'000'000'000u);
}

TEST_F(tsc, no_rtc_is_no_clock_and_no_hang) {
  cpu.detect();
  for (const uint32_t reads : {~0u, 0u}) { // QEMU's empty ports, Firecracker's
    cpu.empty_port = reads;
    EXPECT_EQ(arch::read_wall_clock(1).code(), error::nodev);
  }
  cpu.rtc = {{0x0a, 0x80}, {0x0d, 0x80}}; // for ever in an update
  EXPECT_EQ(arch::read_wall_clock(10'000).code(), error::again);
}

} // namespace
