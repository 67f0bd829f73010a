// The local APIC's mode, the timer's mode and its frequency, down to the registers written.
// sources: arch/x64/cpu_features.cc
#include "arch/x64/apic.cc" // included, so that each case starts with a controller that is off
#include "tests/unit/fake_processor.hh"

namespace {

using namespace oblako;
using namespace oblako::test;

uint64_t clock_ns;
alignas(4096) uint32_t page[1024]; // the xAPIC's registers
unsigned mapped;
bool memory_left = true;
std::string logged;
unsigned tables_loaded; // times the table with the stubs of the interrupts was loaded

} // namespace

extern "C" {
extern const char interrupt_idt[256 * 16] = {}, interrupt_idt_end[1] = {};
}

namespace oblako {
uint64_t time::monotonic_ns() {
  return clock_ns;
}
result<volatile void*> mem::map_device(phys_addr start, size_t bytes) {
  EXPECT_EQ(raw(start), 0xfee00000u);
  EXPECT_EQ(bytes, 4096u);
  ++mapped;
  if (!memory_left)
    return error::nomem;
  return static_cast<volatile void*>(page);
}
void log::error(const char* format, ...) {
  logged = format;
}
void arch::load_interrupt_table(const char* start, const char* end) {
  EXPECT_EQ(start, interrupt_idt);
  EXPECT_EQ(end, interrupt_idt_end);
  ++tables_loaded;
}
struct powered_off {
  int status;
};
void arch::power_off(int status) {
  throw powered_off{status};
}
} // namespace oblako

namespace {

constexpr uint64_t enabled = 1u << 11, extended = 1u << 10;
constexpr char kvm[] = "KVMKVMKVM\0\0\0", tcg[] = "TCGTCGTCGTCG", other[] = "XenVMMXenVMM";

class local_apic : public testing::Test {
protected:
  local_apic() {
    arch::apic = {};
    memset(page, 0, sizeof(page));
    page[0x20 / 4] = 3u << 24; // ID
    clock_ns = 1'000'000;
    mapped = 0;
    memory_left = true;
    logged.clear();
    tables_loaded = 0;
    cpu.msrs[0x1b] = 0xfee00900; // enabled, boot processor
  }
  void processor_with(uint32_t bits) { cpu.leaves[1].ecx |= bits; }
  void x2apic_registers() {
    for (const uint32_t r : {0x02, 0x08, 0x0b, 0x0f, 0x32, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3e})
      cpu.msrs[0x800 + r] = 0;
    cpu.msrs[0x802] = 7; // ID, all 32 bits
  }
  bool start() {
    cpu.detect();
    return arch::start_interrupts().ok();
  }
  // The count that 1 ms takes: the timer's frequency in kHz, and one to be never early.
  uint32_t counts_of_a_millisecond() {
    arch::arm_deadline_timer(clock_ns + 1'000'000);
    return page[0x380 / 4];
  }
  fake_processor cpu;
};

TEST_F(local_apic, memory_mapped_with_a_counter) {
  ASSERT_TRUE(start());
  EXPECT_EQ(cpu.msrs[0x1b], 0xfee00900u);
  EXPECT_EQ(page[0xf0 / 4], 0x1ffu);    // enabled, spurious vector 0xff
  EXPECT_EQ(page[0x320 / 4], 0xf0u);    // one shot, timer vector
  EXPECT_EQ(page[0x3e0 / 4], 0xbu);     // divide by 1
  EXPECT_EQ(page[0x350 / 4], 1u << 16); // LINT0 masked
  EXPECT_EQ(page[0x360 / 4], 4u << 8);  // LINT1: NMI
  EXPECT_EQ(arch::this_cpu().apic_id, 3u);
  EXPECT_EQ(mapped, 1u);
  EXPECT_EQ(tables_loaded, 1u);
  arch::end_of_interrupt();
  EXPECT_EQ(page[0xb0 / 4], 0u);
}

TEST_F(local_apic, is_enabled_where_the_firmware_left_it_off) {
  cpu.msrs[0x1b] = 0xfee00100;
  ASSERT_TRUE(start());
  EXPECT_EQ(cpu.msrs[0x1b], 0xfee00100u | enabled);
}

TEST_F(local_apic, x2apic_by_way_of_enabled) {
  processor_with(has_x2apic);
  x2apic_registers();
  cpu.msrs[0x1b] = 0xfee00100;
  ASSERT_TRUE(start());
  EXPECT_EQ(mapped, 0u);
  ASSERT_GE(cpu.written.size(), 2u);
  using write = std::pair<uint32_t, uint64_t>;
  EXPECT_EQ(cpu.written[0], write(0x1b, 0xfee00100u | enabled));
  EXPECT_EQ(cpu.written[1], write(0x1b, 0xfee00100u | enabled | extended));
  EXPECT_EQ(cpu.msrs[0x80f], 0x1ffu);
  EXPECT_EQ(cpu.msrs[0x832], 0xf0u);
  EXPECT_EQ(arch::this_cpu().apic_id, 7u);
  arch::arm_deadline_timer(clock_ns + 1'000);
  EXPECT_GT(cpu.msrs[0x838], 0u);
}

TEST_F(local_apic, once_is_enough) {
  ASSERT_TRUE(start());
  ASSERT_TRUE(arch::start_interrupts().ok());
  EXPECT_EQ(mapped, 1u);
}

TEST_F(local_apic, no_memory_for_the_registers) {
  memory_left = false;
  EXPECT_FALSE(start());
  memory_left = true;
  EXPECT_TRUE(arch::start_interrupts().ok());
}

TEST_F(local_apic, none_at_all_is_said_and_is_a_failure) {
  cpu.leaves[1].edx = 0;
  try {
    start();
    FAIL();
  } catch (const powered_off& end) {
    EXPECT_NE(end.status, 0);
  }
  EXPECT_NE(logged.find("apic"), std::string::npos);
}

TEST_F(local_apic, the_tsc_deadline_where_there_is_one) {
  processor_with(has_tsc_deadline);
  cpu.msrs[0x6e0] = 0;
  ASSERT_TRUE(start());
  EXPECT_EQ(page[0x320 / 4], 2u << 17 | 0xf0); // TSC-deadline mode
  // A second later at 3 GHz the rate is known.
  cpu.tsc += 3'000'000'000;
  clock_ns += 1'000'000'000;
  arch::arm_deadline_timer(clock_ns + 1'000'000);
  EXPECT_NEAR(static_cast<double>(cpu.msrs[0x6e0] - cpu.tsc), 3e6, 100);
  arch::arm_deadline_timer(time::no_deadline);
  EXPECT_EQ(cpu.msrs[0x6e0], 0u);
  arch::arm_deadline_timer(clock_ns - 1); // gone by
  EXPECT_EQ(cpu.msrs[0x6e0], cpu.tsc + 1) << "at once, and not 0, which would disarm";
}

TEST_F(local_apic, the_first_tsc_deadline_is_rather_early) {
  processor_with(has_tsc_deadline);
  cpu.msrs[0x6e0] = 0;
  ASSERT_TRUE(start());
  arch::arm_deadline_timer(clock_ns + 1'000'000);
  EXPECT_LE(cpu.msrs[0x6e0] - cpu.tsc, 1'000'001u) << "1 GHz: no TSC is slower";
  EXPECT_GE(cpu.msrs[0x6e0] - cpu.tsc, 1'000'000u);
}

TEST_F(local_apic, both_modes_together) {
  processor_with(has_x2apic | has_tsc_deadline);
  x2apic_registers();
  cpu.msrs[0x6e0] = 0;
  ASSERT_TRUE(start());
  EXPECT_EQ(cpu.msrs[0x832], 2u << 17 | 0xf0);
}

TEST_F(local_apic, counter_frequency_from_the_hypervisors_leaf) {
  cpu.hypervisor(other, 0x40000010);
  cpu.leaves[0x40000010] = {3'000'000, 200'000, 0, 0};
  ASSERT_TRUE(start());
  EXPECT_EQ(counts_of_a_millisecond(), 200'000u + 1);
}

TEST_F(local_apic, counter_frequency_of_kvm_and_tcg) {
  for (const auto* name : {&kvm, &tcg}) {
    arch::apic = {};
    cpu.hypervisor(*name, 0x40000001);
    ASSERT_TRUE(start());
    EXPECT_EQ(counts_of_a_millisecond(), 1'000'000u + 1);
  }
  arch::apic = {};
  cpu.hypervisor(kvm, 0x40000010); // the leaf is there and says nothing of the bus
  cpu.leaves[0x40000010] = {3'000'000, 0, 0, 0};
  ASSERT_TRUE(start());
  EXPECT_EQ(counts_of_a_millisecond(), 1'000'000u + 1);
}

TEST_F(local_apic, counter_frequency_from_the_crystal) {
  cpu.leaf(0x15, {2, 216, 24'000'000, 0});
  ASSERT_TRUE(start());
  EXPECT_EQ(counts_of_a_millisecond(), 24'000u + 1);
}

TEST_F(local_apic, a_signature_without_the_hypervisor_bit_means_nothing) {
  cpu.hypervisor(kvm, 0x40000001);
  cpu.leaves[1].ecx = 0;
  ASSERT_TRUE(start());
  EXPECT_EQ(counts_of_a_millisecond(), 10'000u + 1);
}

TEST_F(local_apic, an_unknown_counter_frequency_is_learned) {
  ASSERT_TRUE(start());
  EXPECT_EQ(counts_of_a_millisecond(), 10'000u + 1) << "below any real one: early, never late";
  // 2 ms pass before the next arming, a 100 MHz counter armed with a long time has lost 200,000.
  arch::arm_deadline_timer(clock_ns + 1'000'000'000);
  page[0x390 / 4] = page[0x380 / 4] - 200'000;
  clock_ns += 2'000'000;
  EXPECT_EQ(counts_of_a_millisecond(), 100'000u + 1);
}

TEST_F(local_apic, a_far_deadline_is_as_far_as_the_counter_goes) {
  cpu.hypervisor(kvm, 0x40000001);
  ASSERT_TRUE(start());
  arch::arm_deadline_timer(clock_ns + 3'600'000'000'000);
  EXPECT_EQ(page[0x380 / 4], ~0u);
  arch::arm_deadline_timer(time::no_deadline);
  EXPECT_EQ(page[0x380 / 4], 0u);
}

TEST_F(local_apic, disarming_before_anything_started_starts_nothing) {
  cpu.detect();
  arch::arm_deadline_timer(time::no_deadline);
  EXPECT_EQ(mapped, 0u);
  EXPECT_TRUE(cpu.written.empty());
  arch::arm_deadline_timer(clock_ns + 1);
  EXPECT_EQ(mapped, 1u);
}

} // namespace
