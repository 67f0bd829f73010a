// Interrupt vectors and their routing: local APIC (x2APIC where present), IOAPICs, MSI.
// Handlers run on the interrupt IST stack with interrupts off. They may take interrupt-safe
// spinlocks and wake threads; they must not touch application memory, allocate or block.
#pragma once

#include "core/base/result.hh"
#include <stdint.h>

namespace oblako::arch {

using interrupt_handler = void (*)(void* context);

// Connects a handler to a free vector on the boot CPU. Errors: nospc (vectors used up).
result<uint8_t> allocate_vector(interrupt_handler handler, void* context);
void free_vector(uint8_t vector);

enum class trigger : uint8_t { edge, level };
enum class polarity : uint8_t { high, low };

// Routes a global system interrupt (IOAPIC input) to the vector, unmasked. The EOI is sent by the
// dispatcher after the handler has returned. Errors: nxio (no IOAPIC has that input).
result<void> route_gsi(uint32_t gsi, uint8_t vector, trigger t, polarity p);

// Address and data a PCI function writes to raise `vector` on the boot CPU.
struct msi_message {
  uint64_t address;
  uint32_t data;
};
msi_message message_for(uint8_t vector);

} // namespace oblako::arch
