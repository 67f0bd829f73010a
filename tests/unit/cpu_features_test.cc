// Which optional features are used, on processors that have them and that have them not.
// sources: arch/x64/cpu_features.cc
#include "arch/x64/cpu.hh"
#include "arch/x64/cpu_features.hh"
#include "tests/unit/fake_processor.hh"

namespace {

using namespace oblako;
using namespace oblako::test;
using arch::features;

constexpr uint64_t cr4_at_entry = 1u << 5 | 1u << 7 | 1u << 9 | 1u << 10;
constexpr uint64_t fsgsbase = 1u << 16, osxsave = 1u << 18;

TEST(cpu_features, the_least_there_is) {
  fake_processor cpu;
  cpu.cr4 = cr4_at_entry;
  cpu.detect();
  EXPECT_FALSE(features.fsgsbase);
  EXPECT_FALSE(features.xsave);
  EXPECT_FALSE(features.gb_pages);
  EXPECT_FALSE(features.x2apic);
  EXPECT_FALSE(features.tsc_deadline);
  EXPECT_FALSE(features.rdrand);
  EXPECT_FALSE(features.hypervisor);
  EXPECT_TRUE(features.apic);
  EXPECT_EQ(features.vector_state_bytes, 512u); // FXSAVE
  EXPECT_EQ(cpu.cr4, cr4_at_entry);
  EXPECT_EQ(cpu.xcr0, 0u);
  uint64_t number = 0;
  EXPECT_FALSE(arch::hardware_random(number));
}

TEST(cpu_features, single_bits) {
  fake_processor cpu;
  cpu.leaves[1] = {0, 0, has_x2apic | has_tsc_deadline | has_rdrand | has_hypervisor, 0};
  cpu.leaves[0x80000001] = {0, 0, 0, 1u << 26};
  cpu.detect();
  EXPECT_TRUE(features.x2apic);
  EXPECT_TRUE(features.tsc_deadline);
  EXPECT_TRUE(features.rdrand);
  EXPECT_TRUE(features.hypervisor);
  EXPECT_TRUE(features.gb_pages);
  EXPECT_FALSE(features.apic);
}

TEST(cpu_features, fsgsbase_is_switched_on) {
  fake_processor cpu;
  cpu.cr4 = cr4_at_entry;
  cpu.leaf(7, {0, 1, 0, 0});
  cpu.detect();
  EXPECT_TRUE(features.fsgsbase);
  EXPECT_EQ(cpu.cr4, cr4_at_entry | fsgsbase);
}

TEST(cpu_features, no_leaf_7_is_no_fsgsbase) {
  fake_processor cpu;
  cpu.leaf(7, {0, 1, 0, 0});
  cpu.leaves[0].eax = 6; // whatever the leaf would say
  cpu.detect();
  EXPECT_FALSE(features.fsgsbase);
  EXPECT_EQ(cpu.cr4 & fsgsbase, 0u);
}

TEST(cpu_features, xsave_takes_what_we_know_of_what_there_is) {
  const struct {
    uint32_t supported; // leaf 0xd, eax
    uint64_t used;
    uint32_t bytes;
  } cases[] = {
      {0x3, 0x3, 576},                           // x87, SSE
      {0x7, 0x7, 832},                           // AVX
      {0x1f, 0x7, 832},                          // MPX is not ours
      {0xe7, 0xe7, 2688},                        // AVX-512: all three or none
      {0x67, 0x7, 832},   {0x602e7, 0xe7, 2688}, // AMX, PKRU: not ours
  };
  for (const auto& c : cases) {
    fake_processor cpu;
    cpu.cr4 = cr4_at_entry;
    cpu.leaves[1].ecx = has_xsave;
    cpu.leaf(0xd, {c.supported, 0, 0, 0});
    cpu.detect();
    EXPECT_TRUE(features.xsave);
    EXPECT_EQ(cpu.cr4, cr4_at_entry | osxsave) << std::hex << c.supported;
    EXPECT_EQ(cpu.xcr0, c.used) << std::hex << c.supported;
    EXPECT_EQ(features.xcr0, c.used) << std::hex << c.supported;
    EXPECT_EQ(features.vector_state_bytes, c.bytes) << std::hex << c.supported;
  }
}

} // namespace
