#include "tests/tools/packets.hh"

#include <algorithm>
#include <string.h>

namespace relay {
namespace {

constexpr size_t ethernet = 14;
constexpr uint8_t tcp_fin = 0x01, tcp_push = 0x08, tcp_cwr = 0x80;

uint16_t get16(const uint8_t* at) {
  return static_cast<uint16_t>(at[0] << 8 | at[1]);
}
void put16(uint8_t* at, size_t value) {
  at[0] = static_cast<uint8_t>(value >> 8);
  at[1] = static_cast<uint8_t>(value);
}
uint32_t get32(const uint8_t* at) {
  return uint32_t{get16(at)} << 16 | get16(at + 2);
}
void put32(uint8_t* at, uint32_t value) {
  put16(at, value >> 16);
  put16(at + 2, value & 0xffff);
}

// Where the parts of a large TCP segment lie.
struct layout {
  bool ipv6;
  size_t tcp;     // offset of the TCP header
  size_t payload; // offset of the data
};

// False: not a large TCP segment that can be cut.
bool find_layout(const frame& f, layout& out) {
  const uint8_t kind = f.offload.gso_type & ~gso_ecn;
  if ((kind != gso_tcp4 && kind != gso_tcp6) || f.offload.gso_size == 0)
    return false;
  const std::vector<uint8_t>& b = f.bytes;
  out.ipv6 = kind == gso_tcp6;
  if (b.size() < ethernet + 40)
    return false;
  if (out.ipv6) {
    if (b[ethernet + 6] != 6) // extension headers: nobody sends them with TCP here
      return false;
    out.tcp = ethernet + 40;
  } else {
    out.tcp = ethernet + (b[ethernet] & 0xf) * 4u;
  }
  if (b.size() < out.tcp + 20)
    return false;
  out.payload = out.tcp + (b[out.tcp + 12] >> 4) * 4u;
  return out.payload < b.size();
}

void set_lengths_and_checksums(std::vector<uint8_t>& b, const layout& at, size_t number) {
  uint8_t* ip = b.data() + ethernet;
  const size_t segment = b.size() - at.tcp;
  uint32_t sum = static_cast<uint32_t>(6 + segment); // the pseudo-header's protocol and length
  if (at.ipv6) {
    put16(ip + 4, b.size() - ethernet - 40);
    sum = add_up(ip + 8, 32, sum);
  } else {
    put16(ip + 2, b.size() - ethernet);
    put16(ip + 4, get16(ip + 4) + number);
    put16(ip + 10, 0);
    put16(ip + 10, static_cast<uint16_t>(~fold(add_up(ip, at.tcp - ethernet, 0))));
    sum = add_up(ip + 12, 8, sum);
  }
  put16(b.data() + at.tcp + 16, 0);
  put16(b.data() + at.tcp + 16,
        static_cast<uint16_t>(~fold(add_up(b.data() + at.tcp, segment, sum))));
}

} // namespace

uint32_t add_up(const uint8_t* data, size_t bytes, uint32_t sum) {
  for (; bytes > 1; data += 2, bytes -= 2)
    sum += get16(data);
  return bytes ? sum + (uint32_t{data[0]} << 8) : sum;
}

uint16_t fold(uint32_t sum) {
  while (sum >> 16)
    sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

bool is_ip(const frame& f) {
  if (f.bytes.size() < ethernet + 20)
    return false;
  const uint16_t type = get16(f.bytes.data() + 12);
  return type == 0x0800 || type == 0x86dd;
}

size_t wire_packets(const frame& f) {
  layout at;
  if (!find_layout(f, at))
    return 1;
  return (f.bytes.size() - at.payload + f.offload.gso_size - 1) / f.offload.gso_size;
}

std::vector<frame> cut(const frame& f) {
  std::vector<frame> packets;
  layout at;
  if (!find_layout(f, at)) {
    packets.push_back(f);
    if (f.offload.gso_type == gso_none)
      complete_checksum(packets[0]);
    return packets;
  }
  const size_t count = wire_packets(f);
  const uint32_t sequence = get32(f.bytes.data() + at.tcp + 4);
  for (size_t i = 0; i < count; ++i) {
    const size_t from = at.payload + i * f.offload.gso_size;
    const size_t to = std::min(from + f.offload.gso_size, f.bytes.size());
    frame p;
    p.bytes.assign(f.bytes.begin(), f.bytes.begin() + static_cast<ptrdiff_t>(at.payload));
    p.bytes.insert(p.bytes.end(), f.bytes.begin() + static_cast<ptrdiff_t>(from),
                   f.bytes.begin() + static_cast<ptrdiff_t>(to));
    uint8_t* tcp = p.bytes.data() + at.tcp;
    put32(tcp + 4, sequence + static_cast<uint32_t>(i * f.offload.gso_size));
    if (i + 1 < count)
      tcp[13] &= static_cast<uint8_t>(~(tcp_fin | tcp_push));
    if (i > 0)
      tcp[13] &= static_cast<uint8_t>(~tcp_cwr);
    set_lengths_and_checksums(p.bytes, at, i);
    packets.push_back(std::move(p));
  }
  return packets;
}

bool complete_checksum(frame& f) {
  if (!(f.offload.flags & needs_checksum))
    return true;
  const size_t start = f.offload.checksum_start, field = start + f.offload.checksum_offset;
  if (start >= f.bytes.size() || field + 2 > f.bytes.size())
    return false;
  // The field holds the pseudo-header's sum. A UDP checksum of zero would mean none.
  const auto sum =
      static_cast<uint16_t>(~fold(add_up(f.bytes.data() + start, f.bytes.size() - start, 0)));
  put16(f.bytes.data() + field, sum == 0 && f.offload.checksum_offset == 6 ? 0xffff : sum);
  f.offload = {};
  return true;
}

tcp_place place_of(const frame& f) {
  const std::vector<uint8_t>& b = f.bytes;
  const bool ipv6 = get16(b.data() + 12) == 0x86dd;
  const size_t tcp = ethernet + (ipv6 ? 40u : (b[ethernet] & 0xf) * 4u);
  if (b.size() < tcp + 20 || b[ethernet + (ipv6 ? 6 : 9)] != 6)
    return {};
  // The IP header's length: behind the packet there may be padding.
  const size_t end =
      ethernet + (ipv6 ? 40u + get16(b.data() + ethernet + 4) : get16(b.data() + ethernet + 2));
  const size_t payload = tcp + (b[tcp + 12] >> 4) * 4u;
  if (payload >= end)
    return {};
  return {get32(b.data() + tcp), get32(b.data() + tcp + 4), static_cast<uint32_t>(end - payload)};
}

void flip_bit(frame& f, uint64_t where) {
  // Behind the IP packet there may be padding, which nobody looks at.
  const uint8_t* ip = f.bytes.data() + ethernet;
  size_t length = (ip[0] >> 4) == 6 ? 40u + get16(ip + 4) : get16(ip + 2);
  length = std::min(length, f.bytes.size() - ethernet);
  if (length == 0)
    return;
  const uint64_t bit = where % (length * 8);
  f.bytes[ethernet + bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
}

} // namespace relay
