// What a device driver needs of the bus its device sits on (MMIO or PCI), and how it finds it.
#pragma once

#include "arch/x64/interrupts.hh"
#include "core/base/result.hh"
#include "drivers/virtio/spec.hh"
#include "drivers/virtio/virtqueue.hh"

namespace oblako::virtio {

struct ring_addresses {
  device_addr descriptors, available, used;
};

class transport {
public:
  virtual spec::device_type type() const = 0;
  // Where it is, for messages; lives for ever.
  virtual const char* name() const = 0;

  virtual uint64_t offered_features() = 0;
  virtual void accept_features(uint64_t features) = 0;
  virtual uint8_t status() = 0;
  virtual void set_status(uint8_t status) = 0; // 0 resets

  // 0: the device has no such queue.
  virtual uint16_t queue_capacity(uint16_t index) = 0;
  // Tells the device about a ring; returns where to notify. Errors: nomem, io.
  virtual result<doorbell> start_queue(uint16_t index, uint16_t size,
                                       const ring_addresses& rings) = 0;
  // Interrupts of a queue, and of configuration changes. Before start_queue() and DRIVER_OK.
  // Without a handler the queue is polled. Errors: nomem, nospc (vectors used up).
  virtual result<void> connect_queue(uint16_t index, arch::interrupt_handler handler,
                                     void* context) = 0;
  virtual result<void> connect_config(arch::interrupt_handler handler, void* context) = 0;
  // After a reset the device has forgotten where to send the latter. Errors: io.
  virtual result<void> reconnect_config() = 0;

  virtual uint8_t read_config(uint32_t offset) = 0;
  virtual uint32_t config_generation() = 0;

protected:
  ~transport() = default; // transports live as long as the VM
};

// The index-th device of a type, or nullptr. The first call looks for all devices: the MMIO slots
// the boot code knows, then PCI. Context: thread.
transport* find(spec::device_type type, size_t index);

// For the buses: remembers a device that was found. Ignored past max_devices.
constexpr size_t max_devices = 32;
void add_device(transport& t);
void find_mmio_devices();
void find_pci_devices();

} // namespace oblako::virtio
