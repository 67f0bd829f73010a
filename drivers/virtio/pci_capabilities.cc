// Reading virtio's vendor capabilities; they come from the device, so nothing in them is believed
// beyond what the BAR holds, which the caller checks.
#include "drivers/virtio/pci_capabilities.hh"

namespace oblako::virtio {

namespace {

// struct virtio_pci_cap, offsets from the capability.
constexpr uint8_t at_length = 2, at_kind = 3, at_bar = 4, at_offset = 8, at_size = 12;
constexpr uint8_t at_multiplier = 16;
constexpr uint8_t kind_common = 1, kind_notify = 2, kind_device = 4;
constexpr uint32_t common_bytes = 56;

uint32_t dword(const pci::config_space& c, uint32_t offset) {
  return offset > 252 ? 0 : c.read32(static_cast<uint8_t>(offset));
}

} // namespace

result<pci_regions> find_regions(const pci::config_space& c) {
  pci_regions found{};
  pci::find_capability(c, pci::capability_vendor, [&](uint8_t at) {
    const uint8_t kind = c.read8(at + at_kind);
    const pci_region r{c.read8(at + at_bar), dword(c, at + at_offset), dword(c, at + at_size)};
    if (c.read8(at + at_length) < 16 || r.bar > 5 || r.length == 0)
      return false;
    if (kind == kind_common && found.common.length == 0 && r.length >= common_bytes)
      found.common = r;
    else if (kind == kind_device && found.device.length == 0)
      found.device = r;
    else if (kind == kind_notify && found.notify.length == 0 && c.read8(at + at_length) >= 20) {
      found.notify = r;
      found.notify_multiplier = dword(c, at + at_multiplier);
    }
    return false;
  });
  if (found.common.length == 0 || found.notify.length == 0)
    return error::nodev;
  return found;
}

uint32_t virtio_type(const pci::config_space& c) {
  constexpr uint16_t vendor = 0x1af4;
  if (c.read16(pci::field::vendor) != vendor)
    return 0;
  const uint16_t device = c.read16(pci::field::device);
  if (device >= 0x1040 && device <= 0x107f)
    return device - 0x1040u;
  if (device >= 0x1000 && device <= 0x103f) // transitional: the subsystem says (4.1.2.3)
    return c.read16(pci::field::subsystem);
  return 0;
}

} // namespace oblako::virtio
