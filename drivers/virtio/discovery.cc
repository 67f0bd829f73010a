// All virtio devices of the machine, looked for once.
#include "core/base/needs.hh"
#include "core/log/log.hh"
#include "drivers/virtio/transport.hh"

namespace oblako::virtio {

namespace {

// Drivers start one after the other on the boot thread; written only then.
constinit transport* devices[max_devices]{};
constinit size_t device_count = 0;
constinit bool searched = false;

} // namespace

void add_device(transport& t) {
  if (device_count == max_devices) {
    log::warning("virtio: %s ignored, there are %zu devices already", t.name(), max_devices);
    return;
  }
  devices[device_count++] = &t;
}

transport* find(spec::device_type type, size_t index) {
  // An image that has virtio at all offers its console there too.
  OBLAKO_NEEDS(oblako_start_virtio_console);
  if (!searched) {
    searched = true;
    find_mmio_devices();
    find_pci_devices();
  }
  for (size_t i = 0; i < device_count; ++i)
    if (devices[i]->type() == type && index-- == 0)
      return devices[i];
  return nullptr;
}

} // namespace oblako::virtio
