// virtio-mmio devices that the DSDT describes.
#include "arch/x64/acpi.hh"
#include "arch/x64/acpi_view.hh"

namespace oblako::acpi {

// The resources follow the ID within the device: a 32-bit fixed memory range (6.4.3.4), directly
// followed by an extended interrupt with one number (6.4.3.6).
void find_virtio_mmio(const uint8_t* data, size_t bytes, information& out) {
  constexpr uint8_t memory32_tag = 0x86, interrupt_tag = 0x89;
  constexpr size_t id_bytes = 8, memory_bytes = 12, interrupt_bytes = 9;
  const view aml(data, bytes);
  bool in_device = false;
  for (size_t at = 0; at + memory_bytes + interrupt_bytes <= bytes; ++at) {
    if (data[at] == 'L' && aml.get<uint32_t>(at) == signature("LNRO") &&
        aml.get<uint32_t>(at + 4) == signature("0005")) {
      in_device = true;
      at += id_bytes - 1;
    } else if (in_device && data[at] == memory32_tag && aml.get<uint16_t>(at + 1) == 9 &&
               data[at + memory_bytes] == interrupt_tag && data[at + memory_bytes + 4] == 1) {
      if (out.virtio_mmio_count == max_virtio_mmio_devices)
        return;
      out.virtio_mmio[out.virtio_mmio_count++] = {aml.get<uint32_t>(at + 4),
                                                  aml.get<uint32_t>(at + 8),
                                                  aml.get<uint32_t>(at + memory_bytes + 5)};
      in_device = false;
    }
  }
}

} // namespace oblako::acpi

extern "C" void oblako_acpi_virtio_mmio(const uint8_t* aml, size_t bytes,
                                        oblako::acpi::information* out) {
  oblako::acpi::find_virtio_mmio(aml, bytes, *out);
}
