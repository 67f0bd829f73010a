// Initialisation common to all devices, in the order of the specification (virtio 1.1, 3.1.1).
#include "drivers/virtio/device.hh"
#include "core/log/log.hh"
#include "core/mem/frames.hh"
#include "drivers/virtio/dma.hh"
#include <bit>

namespace oblako::virtio {

namespace {

// Where the three parts lie in one block of memory; the descriptor table comes first.
struct ring_layout {
  size_t available, used, bytes;
  explicit ring_layout(uint16_t size)
      : available(spec::descriptor_table_bytes(size)),
        used(align_up(available + spec::available_ring_bytes(size), 64)),
        bytes(used + spec::used_ring_bytes(size)) {}
};

} // namespace

// A PCI device may take a moment (4.1.4.3.2); one that never answers must not hold us up.
bool device_setup::reset() {
  transport_.set_status(0);
  for (unsigned tries = 0; tries < 10000; ++tries)
    if (transport_.status() == 0)
      return true;
  return false;
}

uint64_t device_setup::offered() {
  if (offered_ == 0)
    offered_ = transport_.offered_features();
  return offered_;
}

result<void> device_setup::negotiate(uint64_t wanted) {
  if (!reset())
    return error::io;
  transport_.set_status(spec::status_acknowledge);
  transport_.set_status(spec::status_acknowledge | spec::status_driver);
  if (!(offered() & spec::feature_version_1)) {
    log::error("%s: a device from before virtio 1.0", name());
    give_up();
    return error::opnotsupp;
  }
  features_ = offered() & (wanted | spec::feature_version_1 | spec::feature_event_index |
                           spec::feature_indirect_descriptors | spec::feature_access_platform);
  return agree();
}

result<void> device_setup::renegotiate() {
  if (!reset())
    return error::io;
  transport_.set_status(spec::status_acknowledge);
  transport_.set_status(spec::status_acknowledge | spec::status_driver);
  TRY(agree());
  return transport_.reconnect_config();
}

result<void> device_setup::agree() {
  transport_.accept_features(features_);
  transport_.set_status(spec::status_acknowledge | spec::status_driver | spec::status_features_ok);
  if (!(transport_.status() & spec::status_features_ok)) {
    log::error("%s: refuses features 0x%lx", name(), features_);
    give_up();
    return error::io;
  }
  return {};
}

result<virtqueue*> device_setup::add_queue(uint16_t index, uint16_t size_limit,
                                           arch::interrupt_handler handler, void* context) {
  const uint16_t capacity = transport_.queue_capacity(index);
  if (capacity == 0)
    return error::nxio;
  // A power of two (2.6), whatever the device says.
  const uint16_t size = std::bit_floor(min_of(capacity, size_limit));
  if (handler)
    TRY(transport_.connect_queue(index, handler, context));

  const ring_layout layout(size);
  const size_t pages = align_up(layout.bytes, page_size) / page_size;
  const phys_addr rings = TRY(mem::allocate_contiguous(pages));
  void* records = mem::allocate(size * sizeof(chain_record));
  auto* base = static_cast<uint8_t*>(mem::to_virtual(rings));
  const ring_memory memory{reinterpret_cast<spec::descriptor*>(base),
                           reinterpret_cast<spec::available_ring*>(base + layout.available),
                           reinterpret_cast<spec::used_ring*>(base + layout.used),
                           static_cast<chain_record*>(records)};
  auto made = records
                  ? mem::make<virtqueue>(memory, size,
                                         queue_features{has(spec::feature_event_index),
                                                        has(spec::feature_indirect_descriptors)})
                  : result<mem::unique<virtqueue>>(error::nomem);
  auto bell = made.ok()
                  ? transport_.start_queue(index, size,
                                           {to_device(memory.descriptors),
                                            to_device(memory.available), to_device(memory.used)})
                  : result<doorbell>(made.code());
  if (!bell.ok()) {
    mem::release(records);
    mem::free_contiguous(rings, pages);
    return bell.code();
  }
  (*made)->set_doorbell(*bell);
  return made->release();
}

result<void> device_setup::restart_queue(uint16_t index, virtqueue& q) {
  q.restart();
  const ring_memory& m = q.memory();
  q.set_doorbell(TRY(transport_.start_queue(
      index, q.size(), {to_device(m.descriptors), to_device(m.available), to_device(m.used)})));
  return {};
}

void device_setup::finish() {
  transport_.set_status(spec::status_acknowledge | spec::status_driver | spec::status_features_ok |
                        spec::status_driver_ok);
}

bool device_setup::give_up() {
  const bool stopped = reset();
  transport_.set_status(spec::status_failed);
  return stopped;
}

void device_setup::read_config(uint32_t offset, void* to, size_t bytes) {
  auto* out = static_cast<uint8_t*>(to);
  // 2.4.1: the generation changes while fields do. Bounded: a device that changes for ever gets
  // what was read last.
  for (unsigned tries = 0; tries < 8; ++tries) {
    const uint32_t before = transport_.config_generation();
    for (size_t i = 0; i < bytes; ++i)
      out[i] = transport_.read_config(static_cast<uint32_t>(offset + i));
    if (transport_.config_generation() == before)
      return;
  }
}

} // namespace oblako::virtio
