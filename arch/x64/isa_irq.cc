// Where an ISA interrupt arrives, by the overrides of the ACPI tables.
#include "arch/x64/acpi.hh"
#include "core/base/needs.hh"

namespace oblako::arch {

acpi::interrupt_override resolve_isa_irq(uint8_t irq) {
  OBLAKO_NEEDS(oblako_acpi_interrupts);
  if (const acpi::information* info = acpi_information())
    for (size_t i = 0; i < info->override_count; ++i)
      if (info->overrides[i].isa_irq == irq)
        return info->overrides[i];
  return {irq, irq, trigger::edge, polarity::high};
}

} // namespace oblako::arch
