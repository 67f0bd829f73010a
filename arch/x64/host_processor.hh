// The processor and the ports as unit tests have them: the privileged instructions of msr.hh and
// cpu.hh call this in a host test, where the real ones would fault. Only with OBLAKO_HOST_TEST.
#pragma once

#include <stdint.h>

namespace oblako::arch {

struct cpuid_result {
  uint32_t eax, ebx, ecx, edx;
};

class host_processor {
public:
  virtual ~host_processor() = default;
  virtual cpuid_result cpuid(uint32_t leaf, uint32_t subleaf) = 0;
  virtual uint64_t read_msr(uint32_t index) = 0;
  virtual void write_msr(uint32_t index, uint64_t value) = 0;
  virtual uint64_t read_tsc() = 0;
  // Units: bytes, 1, 2 or 4.
  virtual uint32_t in(uint16_t port, unsigned bytes) = 0;
  virtual void out(uint16_t port, uint32_t value, unsigned bytes) = 0;

  uint64_t cr4 = 0, xcr0 = 0;
};

// Set by the test before it runs code that needs one.
inline host_processor* host_machine = nullptr;

} // namespace oblako::arch
