// What the portable kernel may ask of the processor: interrupt flag, halt, TSC, random numbers.
#pragma once

#include <stdint.h>

#ifdef OBLAKO_HOST_TEST
#include "arch/x64/host_processor.hh"
#endif

namespace oblako::arch {

#ifdef OBLAKO_HOST_TEST
inline void disable_interrupts() {}
inline void enable_interrupts() {}
inline bool interrupts_enabled() {
  return true;
}
inline void halt_until_interrupt() {}
#else
inline void disable_interrupts() {
  asm volatile("cli" ::: "memory");
}
inline void enable_interrupts() {
  asm volatile("sti" ::: "memory");
}
inline bool interrupts_enabled() {
  uint64_t flags;
  asm volatile("pushf; pop %0" : "=r"(flags));
  return flags & 0x200;
}
// Enables interrupts and halts in one step: an interrupt that arrives in between still wakes it.
// Returns with interrupts enabled.
inline void halt_until_interrupt() {
  asm volatile("sti; hlt" ::: "memory");
}
#endif
// For what a leaf call reaches and what may hold a string instruction: see syscall_entry.hh.
inline void clear_direction_flag() {
  asm volatile("cld");
}
inline void pause() {
  asm volatile("pause");
}

inline uint64_t read_tsc() {
#ifdef OBLAKO_HOST_TEST
  if (host_machine)
    return host_machine->read_tsc();
#endif
  uint32_t lo, hi;
  asm volatile("rdtsc" : "=a"(lo), "=d"(hi));
  return uint64_t{hi} << 32 | lo;
}

// Interrupts off for the life of the object; restores what was before.
class interrupts_off {
public:
#ifdef OBLAKO_HOST_TEST
  interrupts_off() {}
#else
  interrupts_off() {
    asm volatile("pushf; pop %0; cli" : "=r"(flags_)::"memory");
  }
  ~interrupts_off() {
    if (flags_ & 0x200)
      enable_interrupts();
  }
#endif
  interrupts_off(const interrupts_off&) = delete;

private:
  [[maybe_unused]] uint64_t flags_ = 0;
};

// A random number from RDRAND (RDSEED where present). False if the CPU has neither or ran dry.
bool hardware_random(uint64_t& value);

// Ends the VM. Status 0 powers off; of any other status seven bits reach the host through
// isa-debug-exit (scripts/vmkit/vm.py). Where that is missing, failure is a pvpanic event or reset.
[[noreturn]] void power_off(int status);
[[noreturn]] void reboot();

// Port access, for bus scans (PCI configuration mechanism 1) and legacy devices.
#ifdef OBLAKO_HOST_TEST
inline void out8(uint16_t port, uint8_t v) {
  host_machine->out(port, v, 1);
}
inline void out16(uint16_t port, uint16_t v) {
  host_machine->out(port, v, 2);
}
inline void out32(uint16_t port, uint32_t v) {
  host_machine->out(port, v, 4);
}
inline uint8_t in8(uint16_t port) {
  return static_cast<uint8_t>(host_machine->in(port, 1));
}
inline uint16_t in16(uint16_t port) {
  return static_cast<uint16_t>(host_machine->in(port, 2));
}
inline uint32_t in32(uint16_t port) {
  return host_machine->in(port, 4);
}
#else
inline void out8(uint16_t port, uint8_t v) {
  asm volatile("outb %0, %1" ::"a"(v), "Nd"(port));
}
inline void out16(uint16_t port, uint16_t v) {
  asm volatile("outw %0, %1" ::"a"(v), "Nd"(port));
}
inline void out32(uint16_t port, uint32_t v) {
  asm volatile("outl %0, %1" ::"a"(v), "Nd"(port));
}
inline uint8_t in8(uint16_t port) {
  uint8_t v;
  asm volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
  return v;
}
inline uint16_t in16(uint16_t port) {
  uint16_t v;
  asm volatile("inw %1, %0" : "=a"(v) : "Nd"(port));
  return v;
}
inline uint32_t in32(uint16_t port) {
  uint32_t v;
  asm volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
  return v;
}
#endif

} // namespace oblako::arch
