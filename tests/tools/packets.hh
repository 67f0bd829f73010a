// What the relay needs to know of packets: a frame with the header that says what is still to be
// done to it (a checksum, cutting into segments), and the operations that make wire packets of it.
// No sockets here, so that the unit test covers all of it.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <vector>

namespace relay {

// struct virtio_net_hdr as tap devices and packet sockets speak it (virtio 1.1, 5.1.6, without the
// number of buffers), in the host's byte order, which is little endian.
struct offload_header {
  uint8_t flags = 0;
  uint8_t gso_type = 0;
  uint16_t header_length = 0;
  uint16_t gso_size = 0;
  uint16_t checksum_start = 0;
  uint16_t checksum_offset = 0;
};
static_assert(sizeof(offload_header) == 10);
constexpr uint8_t needs_checksum = 1;
constexpr uint8_t gso_none = 0, gso_tcp4 = 1, gso_tcp6 = 4, gso_ecn = 0x80;

struct frame {
  offload_header offload;
  std::vector<uint8_t> bytes; // from the Ethernet header on
};

// IPv4 or IPv6: what faults are for. ARP and the like are left alone.
bool is_ip(const frame& f);
// The number of packets that the frame is on a wire.
size_t wire_packets(const frame& f);
// These packets, checksums filled in. A large segment that is not TCP stays whole.
std::vector<frame> cut(const frame& f);
// Fills in a checksum that was left to a device. False: the header makes no sense.
bool complete_checksum(frame& f);
// Turns one bit of the IP packet over, `where` is any number. The checksum must be complete.
void flip_bit(frame& f, uint64_t where);

// Where a TCP segment's data belong: both ports in one number, and the octets' numbers. Without
// data, or if it is something else, `length` is 0.
struct tcp_place {
  uint32_t ports = 0, sequence = 0, length = 0;
};
tcp_place place_of(const frame& f);

// The ones' complement sum of RFC 1071, not yet inverted; `sum` is carried on.
uint32_t add_up(const uint8_t* data, size_t bytes, uint32_t sum);
uint16_t fold(uint32_t sum);

} // namespace relay
