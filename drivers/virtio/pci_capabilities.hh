// Where a virtio PCI function keeps its register blocks, from its vendor capabilities.
// Spec: virtio 1.1, 4.1.4.
#pragma once

#include "drivers/pci/config.hh"
#include "drivers/virtio/spec.hh"

namespace oblako::virtio {

struct pci_region {
  uint8_t bar;
  uint32_t offset;
  uint32_t length; // 0: not there
};

struct pci_regions {
  pci_region common, notify, device;
  uint32_t notify_multiplier;
};

// Takes the first capability of each kind, as the specification asks. Errors: nodev (no common or
// notify block: a device from before virtio 1.0, or a broken one).
result<pci_regions> find_regions(const pci::config_space& c);

// The device type a function's IDs stand for, 0 if it is no virtio device.
uint32_t virtio_type(const pci::config_space& c);

} // namespace oblako::virtio
