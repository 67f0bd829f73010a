#include "core/net/checksum.hh"

namespace oblako::net {
namespace {

constexpr uint32_t ether_header = 14;
constexpr uint16_t type_ipv4 = 0x0800, type_ipv6 = 0x86dd;
constexpr uint8_t protocol_tcp = 6, protocol_udp = 17, ipv6_fragment_header = 44;

uint16_t big16(const uint8_t* p) {
  return static_cast<uint16_t>(p[0] << 8 | p[1]);
}

uint32_t sum16(const uint8_t* p, uint32_t bytes) {
  uint32_t sum = 0;
  for (uint32_t i = 0; i < bytes; i += 2)
    sum += big16(p + i);
  return sum;
}

// Where the checksum lies within the transport header; 0 for protocols that have none to offer.
uint16_t checksum_offset(uint8_t protocol) {
  return protocol == protocol_tcp ? 16 : protocol == protocol_udp ? 6 : 0;
}

} // namespace

bool is_fragment(uint16_t ether_type, const void* packet, uint32_t length) {
  const auto* ip = static_cast<const uint8_t*>(packet);
  if (ether_type == type_ipv4)
    return length >= 20 && (big16(ip + 6) & 0x3fff) != 0;
  return ether_type == type_ipv6 && length >= 40 && ip[6] == ipv6_fragment_header;
}

void request_checksum(void* frame, uint32_t contiguous, uint32_t total, transmit_offload& out) {
  auto* ip = static_cast<uint8_t*>(frame) + ether_header;
  if (contiguous < ether_header + 20)
    return;
  const uint16_t type = big16(ip - 2);
  uint32_t header;
  uint8_t protocol;
  uint32_t sum;
  if (type == type_ipv4) {
    header = (ip[0] & 15u) * 4;
    protocol = ip[9];
    sum = sum16(ip + 12, 8);
  } else if (type == type_ipv6 && contiguous >= ether_header + 40) {
    header = 40;
    protocol = ip[6];
    sum = sum16(ip + 8, 32);
  } else {
    return;
  }
  const uint16_t offset = checksum_offset(protocol);
  if (offset == 0 || is_fragment(type, ip, contiguous - ether_header) ||
      contiguous < ether_header + header + offset + 2)
    return;
  sum += protocol + (total - ether_header - header);
  while (sum >> 16)
    sum = (sum & 0xffff) + (sum >> 16);
  uint8_t* field = ip + header + offset;
  field[0] = static_cast<uint8_t>(sum >> 8);
  field[1] = static_cast<uint8_t>(sum);
  out.needs_checksum = true;
  out.checksum_start = static_cast<uint16_t>(ether_header + header);
  out.checksum_offset = offset;
}

void request_segmentation(const void* frame, uint32_t contiguous, uint16_t payload,
                          transmit_offload& out) {
  constexpr uint32_t shortest_tcp = 20, data_offset = 12;
  const auto* bytes = static_cast<const uint8_t*>(frame);
  if (!out.needs_checksum || contiguous < out.checksum_start + shortest_tcp)
    return;
  out.gso_type = big16(bytes + ether_header - 2) == type_ipv4 ? gso_tcp4 : gso_tcp6;
  out.gso_size = payload;
  out.header_length = static_cast<uint16_t>(out.checksum_start +
                                            (bytes[out.checksum_start + data_offset] >> 4) * 4);
}

} // namespace oblako::net

extern "C" uint16_t oblako_checksum(const void* data, int bytes) {
  const auto* p = static_cast<const uint8_t*>(data);
  auto left = static_cast<uint32_t>(bytes);
  uint64_t sum = 0;
  uint32_t words[4];
  // Four at a time: sums of 32-bit words fold to the same as those of their halves.
  for (; left >= sizeof words; p += sizeof words, left -= sizeof words) {
    __builtin_memcpy(words, p, sizeof words);
    sum += uint64_t{words[0]} + words[1] + words[2] + words[3];
  }
  for (; left >= 4; p += 4, left -= 4) {
    __builtin_memcpy(words, p, 4);
    sum += words[0];
  }
  if (left >= 2) {
    uint16_t half;
    __builtin_memcpy(&half, p, 2);
    sum += half;
    p += 2;
  }
  if (left & 1)
    sum += *p;
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>((sum & 0xffff) + (sum >> 16));
}
