// Layouts and numbers of the virtio 1.1 specification that every device shares; nothing else.
// All fields are little-endian, as is the CPU.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace oblako::virtio::spec {

// --- 2.6: split virtqueues

struct descriptor { // 2.6.5
  uint64_t address;
  uint32_t length;
  uint16_t flags;
  uint16_t next;
};
static_assert(sizeof(descriptor) == 16);

constexpr uint16_t descriptor_next = 1;
constexpr uint16_t descriptor_write = 2; // the device writes
constexpr uint16_t descriptor_indirect = 4;

struct available_ring { // 2.6.6; ring[size] is used_event
  uint16_t flags;
  uint16_t index;
  uint16_t ring[];
};
static_assert(sizeof(available_ring) == 4);
constexpr uint16_t available_no_interrupt = 1;

struct used_element { // 2.6.8
  uint32_t id;
  uint32_t length;
};
static_assert(sizeof(used_element) == 8);

struct used_ring { // ring[size] starts with avail_event
  uint16_t flags;
  uint16_t index;
  used_element ring[];
};
static_assert(sizeof(used_ring) == 4);
constexpr uint16_t used_no_notify = 1;

constexpr size_t max_queue_size = 32768;
constexpr size_t descriptor_table_bytes(size_t size) {
  return 16 * size;
}
constexpr size_t available_ring_bytes(size_t size) {
  return 6 + 2 * size;
}
constexpr size_t used_ring_bytes(size_t size) {
  return 6 + 8 * size;
}

// --- 2.1: device status

constexpr uint8_t status_acknowledge = 1;
constexpr uint8_t status_driver = 2;
constexpr uint8_t status_driver_ok = 4;
constexpr uint8_t status_features_ok = 8;
constexpr uint8_t status_needs_reset = 64;
constexpr uint8_t status_failed = 128;

// --- 6: feature bits that belong to the transport and the rings

constexpr uint64_t feature(unsigned bit) {
  return uint64_t{1} << bit;
}
constexpr uint64_t feature_indirect_descriptors = feature(28);
constexpr uint64_t feature_event_index = feature(29);
constexpr uint64_t feature_version_1 = feature(32);
// Addresses are those of the platform's DMA (6.1): without an IOMMU that translates, physical ones.
constexpr uint64_t feature_access_platform = feature(33);

// --- 5: device types

enum class device_type : uint32_t {
  net = 1,
  block = 2,
  console = 3,
  rng = 4,
};

// --- interrupt status (4.1.4.5, 4.2.2)

constexpr uint32_t interrupt_queue = 1;
constexpr uint32_t interrupt_config = 2;

} // namespace oblako::virtio::spec
