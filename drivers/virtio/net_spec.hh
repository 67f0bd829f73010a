// Network device: layouts and numbers of virtio 1.1, 5.1.
#pragma once

#include "drivers/virtio/spec.hh"

namespace oblako::virtio::spec::net {

// 5.1.3
constexpr uint64_t feature_checksum = feature(0);
constexpr uint64_t feature_guest_checksum = feature(1);
constexpr uint64_t feature_mtu = feature(3);
constexpr uint64_t feature_mac = feature(5);
constexpr uint64_t feature_guest_tso4 = feature(7);
constexpr uint64_t feature_guest_tso6 = feature(8);
constexpr uint64_t feature_host_tso4 = feature(11);
constexpr uint64_t feature_host_tso6 = feature(12);
constexpr uint64_t feature_mergeable_buffers = feature(15);
constexpr uint64_t feature_status = feature(16);
constexpr uint64_t feature_control_queue = feature(17);
constexpr uint64_t feature_guest_announce = feature(21);

constexpr uint16_t receive_queue = 0, transmit_queue = 1, control_queue = 2;

// struct virtio_net_config, 5.1.4
constexpr uint32_t config_mac = 0, config_status = 6, config_mtu = 10;
constexpr uint16_t status_link_up = 1, status_announce = 2;

struct header { // 5.1.6; with VERSION_1 always this long
  uint8_t flags;
  uint8_t gso_type;
  uint16_t header_length;
  uint16_t gso_size;
  uint16_t checksum_start;
  uint16_t checksum_offset;
  uint16_t buffer_count;
};
static_assert(sizeof(header) == 12);
constexpr uint8_t header_needs_checksum = 1;
constexpr uint8_t header_data_valid = 2;
constexpr uint8_t gso_tcp4 = 1, gso_tcp6 = 4;

struct control_command { // 5.1.6.5
  uint8_t command_class;
  uint8_t command;
};
static_assert(sizeof(control_command) == 2);
constexpr control_command announce_acknowledge{3, 0};

} // namespace oblako::virtio::spec::net
