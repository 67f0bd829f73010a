// Transport checksums left to the device: recognises the packets and prepares them.
#pragma once

#include "core/net/device.hh"
#include <stdint.h>

namespace oblako::net {

// True for an IPv4 or IPv6 packet (by EtherType) that is a fragment of a larger one. `length` is
// what lies contiguously at `packet`.
bool is_fragment(uint16_t ether_type, const void* packet, uint32_t length);

// If the frame carries a whole TCP or UDP packet, puts the pseudo-header's sum into its checksum
// field and asks the device for the rest (virtio 1.1, 5.1.6.2). `contiguous` bytes lie at `frame`,
// which begins with the Ethernet header; `total` is the frame's length.
void request_checksum(void* frame, uint32_t contiguous, uint32_t total, transmit_offload& out);

// Asks the device to cut the frame, a TCP segment for which request_checksum() has asked already,
// into packets with `payload` bytes of data each.
void request_segmentation(const void* frame, uint32_t contiguous, uint16_t payload,
                          transmit_offload& out);

} // namespace oblako::net

// The ones' complement sum of 16-bit words as they lie in memory, not inverted (RFC 1071); an odd
// last byte counts as the first of a word. lwIP's checksum function.
extern "C" uint16_t oblako_checksum(const void* data, int bytes);
