// CPUID at boot: what is used where it is there. What the kernel cannot do without has been looked
// at by the entry code (boot.S).
#include "arch/x64/cpu_features.hh"
#include "arch/x64/cpu.hh"
#include "arch/x64/msr.hh"
#include "core/log/log.hh"

namespace oblako::arch {

cpu_features features;

namespace {
constexpr uint64_t cr4_fsgsbase = 1u << 16;
constexpr uint64_t cr4_osxsave = 1u << 18;
constexpr uint64_t xcr0_x87 = 1, xcr0_sse = 2, xcr0_avx = 4, xcr0_avx512 = 0xe0;

void enable_xsave() {
  write_cr4(read_cr4() | cr4_osxsave);
  const uint64_t supported = cpuid(0xd).eax;
  uint64_t wanted = xcr0_x87 | xcr0_sse;
  if (supported & xcr0_avx)
    wanted |= xcr0_avx;
  if ((supported & xcr0_avx512) == xcr0_avx512)
    wanted |= xcr0_avx512;
  write_xcr0(wanted);
  features.xcr0 = wanted;
  features.vector_state_bytes = cpuid(0xd).ebx; // for the XCR0 just written
}
} // namespace

void detect_cpu_features() {
  const uint32_t basic = boot_cpuid.basic_ecx;
  features.x2apic = basic & (1u << 21);
  features.tsc_deadline = basic & (1u << 24);
  features.rdrand = basic & (1u << 30);
  features.hypervisor = basic & (1u << 31);
  features.xsave = basic & (1u << 26);
  features.apic = boot_cpuid.basic_edx & (1u << 9);
  features.vector_state_bytes = 512;
  features.gb_pages = boot_cpuid.extended_edx & (1u << 26);
  if (cpuid(0).eax >= 7 && (cpuid(7).ebx & 1)) {
    features.fsgsbase = true;
    write_cr4(read_cr4() | cr4_fsgsbase);
  }
  if (features.xsave)
    enable_xsave();
}

bool hardware_random(uint64_t& value) {
  if (!features.rdrand)
    return false;
  // Intel's guidance: ten tries cover every transient underflow.
  for (int i = 0; i < 10; i++) {
    bool ok;
    asm volatile("rdrand %0; setc %1" : "=r"(value), "=qm"(ok)::"cc");
    if (ok)
      return true;
  }
  return false;
}

} // namespace oblako::arch
