// Saving and restoring the whole vector state: preemption, faults that sleep, signal frames.
// Spec: Intel SDM vol. 1, 13.4 (layout), 13.7-13.8 (XSAVE, XRSTOR); FXSAVE where XSAVE is not on.
#include "arch/x64/context.hh"
#include "arch/x64/cpu_features.hh"

namespace oblako::arch {

size_t vector_state_size() {
  return features.vector_state_bytes;
}
uint64_t vector_features() {
  return features.xsave ? features.xcr0 : 0;
}

void save_vector_state(void* area) {
  if (!features.xsave) {
    asm volatile("fxsave64 (%0)" ::"r"(area) : "memory");
    return;
  }
  // XSAVE writes only the first word of its header, XRSTOR checks the rest.
  auto* header = reinterpret_cast<uint64_t*>(static_cast<char*>(area) + legacy_vector_state_size);
  for (int i = 0; i < 8; ++i)
    header[i] = 0;
  asm volatile("xsave64 (%0)" ::"r"(area), "a"(~0u), "d"(~0u) : "memory");
}

void restore_vector_state(const void* area) {
  if (features.xsave)
    asm volatile("xrstor64 (%0)" ::"r"(area), "a"(~0u), "d"(~0u) : "memory");
  else
    asm volatile("fxrstor64 (%0)" ::"r"(area) : "memory");
}

} // namespace oblako::arch
