// Interrupt controllers and overrides from the ACPI tables, for who routes interrupts.
#include "arch/x64/acpi.hh"
#include "arch/x64/acpi_view.hh"

namespace oblako::acpi {
namespace {

// MPS INTI flags of an interrupt source override, 5.2.12.5; "conforms to the bus" is ISA: edge,
// active high.
void add_override(const view& entry, information& out) {
  if (out.override_count == max_overrides)
    return;
  const uint16_t flags = entry.get<uint16_t>(8);
  interrupt_override& o = out.overrides[out.override_count++];
  o.isa_irq = entry.get<uint8_t>(3);
  o.gsi = entry.get<uint32_t>(4);
  o.polarity = (flags & 3) == 3 ? arch::polarity::low : arch::polarity::high;
  o.trigger = (flags >> 2 & 3) == 3 ? arch::trigger::level : arch::trigger::edge;
}

// Multiple APIC Description Table, 5.2.12.
void read_madt(const view& madt, information& out) {
  constexpr uint8_t type_ioapic = 1, type_override = 2;
  size_t offset = 44;
  while (offset + 2 <= madt.size()) {
    const uint8_t type = madt.get<uint8_t>(offset);
    const uint8_t length = madt.get<uint8_t>(offset + 1);
    if (length < 2 || length > madt.size() - offset)
      return;
    const view entry(madt.data() + offset, length);
    if (type == type_ioapic && length >= 12 && out.ioapic_count < max_ioapics)
      out.ioapics[out.ioapic_count++] = {entry.get<uint32_t>(4), entry.get<uint32_t>(8)};
    else if (type == type_override && length >= 10)
      add_override(entry, out);
    offset += length;
  }
}

} // namespace
} // namespace oblako::acpi

extern "C" void oblako_acpi_interrupts(const uint8_t* madt, size_t bytes,
                                       oblako::acpi::information* out) {
  using namespace oblako::acpi;
  read_madt(view(madt, bytes), *out);
}
