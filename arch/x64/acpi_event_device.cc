// The event device of reduced hardware (power button), as the DSDT describes it.
#include "arch/x64/acpi.hh"
#include "arch/x64/acpi_view.hh"

namespace oblako::acpi {

// After the ID: an extended interrupt with one number, and an operation region in memory, whose
// name is followed by its space and its offset as a 32-bit constant (20.2.5.2).
void find_event_device(const uint8_t* data, size_t bytes, information& out) {
  constexpr uint8_t interrupt_tag = 0x89, dword_prefix = 0x0c, system_memory = 0;
  constexpr uint16_t region_op = 0x805b;
  constexpr size_t longest = 12; // of what is looked for
  const view aml(data, bytes);
  bool in_device = false, have_gsi = false;
  event_device found{};
  for (size_t at = 0; at + longest <= bytes; ++at) {
    if (data[at] == 'A' && aml.get<uint32_t>(at) == signature("ACPI") &&
        aml.get<uint32_t>(at + 4) == signature("0013")) {
      in_device = true;
    } else if (in_device && !have_gsi && data[at] == interrupt_tag &&
               aml.get<uint16_t>(at + 1) == 6 && data[at + 4] == 1) {
      found.gsi = aml.get<uint32_t>(at + 5);
      have_gsi = true;
    } else if (in_device && !found.address && aml.get<uint16_t>(at) == region_op &&
               data[at + 6] == system_memory && data[at + 7] == dword_prefix) {
      found.address = aml.get<uint32_t>(at + 8);
    }
    if (have_gsi && found.address) {
      out.events = found;
      return;
    }
  }
}

} // namespace oblako::acpi

extern "C" void oblako_acpi_event_device(const uint8_t* aml, size_t bytes,
                                         oblako::acpi::information* out) {
  oblako::acpi::find_event_device(aml, bytes, *out);
}
