// Which optional features of the processor are in use. Filled once at boot, read by anyone.
#pragma once

#include <stdint.h>

namespace oblako::arch {

struct cpu_features {
  bool fsgsbase; // rdfsbase/wrfsbase; CR4.FSGSBASE is set
  bool xsave;    // XSAVE; CR4.OSXSAVE is set and XCR0 written
  bool gb_pages; // 1 GB pages
  bool x2apic;
  bool tsc_deadline;
  bool rdrand;
  bool hypervisor;
  uint32_t vector_state_bytes; // XSAVE area for XCR0, or 512 for FXSAVE
  uint64_t xcr0;
};
extern cpu_features features;

void detect_cpu_features();

} // namespace oblako::arch
