// Model-specific and control registers, CPUID. Only for arch/x64.
#pragma once

#include <stdint.h>

#ifdef OBLAKO_HOST_TEST
#include "arch/x64/host_processor.hh"
#endif

namespace oblako::arch {

enum msr : uint32_t {
  msr_kvm_old_wall_clock = 0x11,
  msr_kvm_old_system_time = 0x12,
  msr_apic_base = 0x1b,
  msr_tsc_deadline = 0x6e0,
  msr_fs_base = 0xc0000100,
  msr_gs_base = 0xc0000101,
  msr_kvm_wall_clock = 0x4b564d00,
  msr_kvm_system_time = 0x4b564d01,
};

#ifdef OBLAKO_HOST_TEST
inline uint64_t read_msr(uint32_t index) {
  return host_machine->read_msr(index);
}
inline void write_msr(uint32_t index, uint64_t value) {
  host_machine->write_msr(index, value);
}
inline uint64_t read_cr4() {
  return host_machine->cr4;
}
inline void write_cr4(uint64_t v) {
  host_machine->cr4 = v;
}
inline void write_xcr0(uint64_t v) {
  host_machine->xcr0 = v;
}
inline cpuid_result cpuid(uint32_t leaf, uint32_t subleaf = 0) {
  return host_machine->cpuid(leaf, subleaf);
}
#else
inline uint64_t read_msr(uint32_t index) {
  uint32_t lo, hi;
  asm volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(index));
  return uint64_t{hi} << 32 | lo;
}
inline void write_msr(uint32_t index, uint64_t value) {
  asm volatile("wrmsr" ::"c"(index), "a"(static_cast<uint32_t>(value)),
               "d"(static_cast<uint32_t>(value >> 32))
               : "memory");
}

constexpr uint64_t cr0_write_protect = 1u << 16;
inline uint64_t read_cr0() {
  uint64_t v;
  asm volatile("mov %%cr0, %0" : "=r"(v)::"memory");
  return v;
}
inline void write_cr0(uint64_t v) {
  asm volatile("mov %0, %%cr0" ::"r"(v) : "memory");
}
inline uint64_t read_cr2() {
  uint64_t v;
  asm volatile("mov %%cr2, %0" : "=r"(v));
  return v;
}
inline uint64_t read_cr3() {
  uint64_t v;
  asm volatile("mov %%cr3, %0" : "=r"(v));
  return v;
}
inline void write_cr3(uint64_t v) {
  asm volatile("mov %0, %%cr3" ::"r"(v) : "memory");
}
inline uint64_t read_cr4() {
  uint64_t v;
  asm volatile("mov %%cr4, %0" : "=r"(v));
  return v;
}
inline void write_cr4(uint64_t v) {
  asm volatile("mov %0, %%cr4" ::"r"(v) : "memory");
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
// Which register sets XSAVE knows. CR4.OSXSAVE is set.
inline void write_xcr0(uint64_t v) {
  asm volatile("xsetbv" ::"c"(0), "a"(static_cast<uint32_t>(v)),
               "d"(static_cast<uint32_t>(v >> 32)));
}
#endif

} // namespace oblako::arch
