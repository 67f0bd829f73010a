// A processor for unit tests: CPUID leaves and MSRs as a test fills them in, a TSC that moves when
// it is told, a PIT and an RTC. A leaf that was not filled in reads as zero, an MSR that was not is
// a failure, a port without a device reads as all ones. Include from one file of a test only.
#pragma once

#include "arch/x64/cpu_features.hh"
#include "arch/x64/host_processor.hh"
#include <cstring>
#include <gtest/gtest.h>
#include <map>
#include <vector>

oblako::arch::cpuid_at_entry oblako::arch::boot_cpuid{};

namespace oblako::test {

// CPUID 1, ecx.
constexpr uint32_t has_x2apic = 1u << 21, has_tsc_deadline = 1u << 24, has_xsave = 1u << 26,
                   has_rdrand = 1u << 30, has_hypervisor = 1u << 31;

class fake_processor final : public arch::host_processor {
public:
  fake_processor() { arch::host_machine = this; }
  ~fake_processor() override { arch::host_machine = nullptr; }

  std::map<uint32_t, arch::cpuid_result> leaves{{0, {1, 0, 0, 0}}, {1, {0, 0, 0, 1u << 9}}};
  std::map<uint32_t, uint64_t> msrs;
  std::vector<std::pair<uint32_t, uint64_t>> written; // MSRs, in order
  uint64_t tsc = 1000;

  void leaf(uint32_t number, arch::cpuid_result value) {
    leaves[number] = value;
    if (number < 0x40000000 && number > leaves[0].eax)
      leaves[0].eax = number;
  }
  void hypervisor(const char (&signature)[13], uint32_t highest) {
    arch::cpuid_result r{highest, 0, 0, 0};
    memcpy(&r.ebx, signature, 4);
    memcpy(&r.ecx, signature + 4, 4);
    memcpy(&r.edx, signature + 8, 4);
    leaves[0x40000000] = r;
    leaves[1].ecx |= has_hypervisor;
  }
  // As boot does: the entry code's answers, then the rest.
  void detect() {
    arch::boot_cpuid = {leaves[1].ecx, leaves[1].edx, leaves[0x80000001].edx};
    arch::features = {};
    arch::detect_cpu_features();
  }

  arch::cpuid_result cpuid(uint32_t number, uint32_t) override {
    if (number == 0xd && leaves.contains(number)) {
      auto r = leaves[number];
      r.ebx = xsave_bytes(xcr0);
      return r;
    }
    return leaves.contains(number) ? leaves[number] : arch::cpuid_result{};
  }
  uint64_t read_msr(uint32_t index) override {
    EXPECT_TRUE(msrs.contains(index)) << "rdmsr of " << std::hex << index;
    return msrs[index];
  }
  void write_msr(uint32_t index, uint64_t value) override {
    EXPECT_TRUE(msrs.contains(index)) << "wrmsr of " << std::hex << index;
    msrs[index] = value;
    written.push_back({index, value});
    if (on_write)
      on_write(index, value);
  }
  void (*on_write)(uint32_t index, uint64_t value) = nullptr;
  uint64_t read_tsc() override { return tsc; }

  // The 8254's channel 0, counting down at its rate while the TSC counts tsc_hz a second.
  bool has_pit = true;
  uint64_t tsc_hz = 2'000'000'000;
  uint64_t port_accesses = 0;
  std::map<uint8_t, uint8_t> rtc; // registers; empty: no RTC

  uint32_t in(uint16_t port, unsigned) override {
    ++port_accesses;
    if (port == 0x40 && has_pit) {
      const uint32_t byte = latched_ & 0xff;
      latched_ >>= 8;
      return byte;
    }
    if (port == 0x71 && !rtc.empty())
      return rtc[rtc_index_];
    return empty_port;
  }
  void out(uint16_t port, uint32_t value, unsigned) override {
    ++port_accesses;
    if (port == 0x43 && value == 0) {
      const auto counted =
          static_cast<uint64_t>(static_cast<unsigned __int128>(tsc) * 1'193'182 / tsc_hz);
      latched_ = static_cast<uint16_t>(0u - counted);
    }
    if (port == 0x70)
      rtc_index_ = static_cast<uint8_t>(value);
  }
  uint32_t empty_port = ~0u; // what a port without a device reads

private:
  // Intel SDM vol. 1, 13.4: legacy and header, AVX at 576, AVX-512 up to 2688.
  static uint32_t xsave_bytes(uint64_t components) {
    return components & 0xe0 ? 2688 : components & 4 ? 832 : 576;
  }
  uint16_t latched_ = 0;
  uint8_t rtc_index_ = 0;
};

} // namespace oblako::test
