// Which optional features of the processor are in use. Filled once at boot, read by anyone.
#pragma once

#include <stdint.h>

namespace oblako::arch {

struct cpu_features {
  bool fsgsbase; // rdfsbase/wrfsbase; CR4.FSGSBASE is set
  bool xsave;    // XSAVE; CR4.OSXSAVE is set and XCR0 written
  bool gb_pages; // 1 GB pages
  bool apic;     // a local APIC
  bool x2apic;
  bool tsc_deadline;
  bool rdrand;
  bool hypervisor;
  uint32_t vector_state_bytes; // XSAVE area for XCR0, or 512 for FXSAVE
  uint64_t xcr0;
};
extern cpu_features features;

// Fills `features` and switches on what CR4 and XCR0 hold. Boot only.
void detect_cpu_features();

// What the entry code asked the processor, before the first C++ code (boot.S): leaf 1, and edx of
// leaf 0x80000001. Under KVM each CPUID is an exit, so these leaves are not asked again.
struct cpuid_at_entry {
  uint32_t basic_ecx, basic_edx, extended_edx;
};
extern "C" cpuid_at_entry boot_cpuid;

} // namespace oblako::arch
