// The part of a driver that is the same for every virtio device: negotiation, making queues,
// reading the configuration, noticing that the device gave up.
// Spec: virtio 1.1, 3.1 (initialisation), 2.4 (configuration space).
#pragma once

#include "core/mem/heap.hh"
#include "drivers/virtio/transport.hh"

namespace oblako::virtio {

class device_setup : noncopyable {
public:
  explicit device_setup(transport& t) : transport_(t) {}

  // Resets the device and agrees on features: those of `wanted` it offers, ring features included.
  // VERSION_1 is required. Errors: io (device does not play along), opnotsupp (too old).
  result<void> negotiate(uint64_t wanted);
  // What the device offers; read once.
  uint64_t offered();
  bool has(uint64_t feature) const { return (features_ & feature) != 0; }

  // Makes queue `index` with at most `size_limit` entries. A null handler: the queue is polled.
  // Errors: nxio (no such queue), nomem, nospc, io.
  result<virtqueue*> add_queue(uint16_t index, uint16_t size_limit, arch::interrupt_handler handler,
                               void* context);
  // A device that asked for a reset (3.1.1 again): resets it and agrees on the same features. Then
  // nothing is the device's any more; the driver takes its chains back, restarts its queues and
  // ends with finish(). Errors: io; the device is given up then, but may not have stopped.
  result<void> renegotiate();
  result<void> restart_queue(uint16_t index, virtqueue& q);

  // From here on the device is live.
  void finish();
  // Gives the device up for good: it is told, and stops. False: it does not confirm that it
  // stopped, and may still write to its buffers.
  bool give_up();

  // A little-endian field of the device's configuration, read whole.
  template <class T>
  T config(uint32_t offset) {
    T value;
    read_config(offset, &value, sizeof value);
    return value;
  }
  void read_config(uint32_t offset, void* to, size_t bytes);

  // The device asks for a reset: nothing works any more.
  bool needs_reset() { return (transport_.status() & spec::status_needs_reset) != 0; }

  transport& bus() { return transport_; }
  const char* name() const { return transport_.name(); }

private:
  bool reset();
  result<void> agree();

  transport& transport_;
  uint64_t offered_ = 0;
  uint64_t features_ = 0;
};

} // namespace oblako::virtio
