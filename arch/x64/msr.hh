// Model-specific registers and CPUID, for arch/x64 itself.
#pragma once

#include <stdint.h>

namespace oblako::arch {

inline uint64_t read_msr(uint32_t number) {
  uint32_t lo, hi;
  asm volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(number));
  return uint64_t{hi} << 32 | lo;
}

inline void write_msr(uint32_t number, uint64_t value) {
  asm volatile("wrmsr" ::"c"(number), "a"(uint32_t(value)), "d"(uint32_t(value >> 32))
               : "memory");
}

struct cpuid_result {
  uint32_t eax, ebx, ecx, edx;
};

inline cpuid_result cpuid(uint32_t leaf, uint32_t subleaf = 0) {
  cpuid_result r;
  asm volatile("cpuid"
               : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
               : "a"(leaf), "c"(subleaf));
  return r;
}

} // namespace oblako::arch
