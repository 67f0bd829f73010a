// The packets that the fuzzer sends, from their fields.
#pragma once

#include "tests/fuzz/fake_wire.hh"

namespace fuzz {

inline void put16(bytes& to, size_t value) {
  to.push_back(static_cast<uint8_t>(value >> 8));
  to.push_back(static_cast<uint8_t>(value));
}
inline void put32(bytes& to, uint32_t value) {
  put16(to, value >> 16);
  put16(to, value & 0xffff);
}
inline void set16(bytes& b, size_t at, size_t value) {
  b[at] = static_cast<uint8_t>(value >> 8);
  b[at + 1] = static_cast<uint8_t>(value);
}
inline void append(bytes& to, const bytes& what) {
  to.insert(to.end(), what.begin(), what.end());
}
inline bytes pattern(size_t count) {
  bytes b(count);
  for (size_t i = 0; i < count; ++i)
    b[i] = static_cast<uint8_t>(i);
  return b;
}

inline uint32_t sum_of(const uint8_t* data, size_t count, uint32_t sum = 0) {
  for (size_t i = 0; i < count; ++i)
    sum += i % 2 ? data[i] : uint32_t{data[i]} << 8;
  return sum;
}
inline uint16_t checksum_of(uint32_t sum) {
  while (sum >> 16)
    sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

inline bytes ethernet(uint8_t device, uint16_t type, const bytes& payload) {
  bytes f = {2, 0, 0, 0, 0, device, 2, 0, 0, 0, 0, 99};
  put16(f, type);
  append(f, payload);
  return f;
}

inline bytes ipv4(uint8_t protocol, const bytes& payload, uint16_t fragment = 0, uint16_t id = 1,
                  uint32_t to = our_ip) {
  bytes p = {0x45, 0};
  put16(p, 20 + payload.size());
  put16(p, id);
  put16(p, fragment);
  append(p, {64, protocol, 0, 0});
  put32(p, __builtin_bswap32(peer_ip));
  put32(p, __builtin_bswap32(to));
  set16(p, 10, checksum_of(sum_of(p.data(), 20)));
  append(p, payload);
  return p;
}

// Link-local addresses, and those that TCP is spoken between: header prediction takes no
// link-local ones.
constexpr uint8_t peer_ip6[16] = {0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x99};
constexpr uint8_t global_peer_ip6[16] = {0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x99};
constexpr uint8_t global_our_ip6[16] = {0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2};

struct ip6_way {
  const uint8_t *from, *to;
};

inline bytes ipv6(uint8_t next, const bytes& payload, ip6_way way, uint8_t hop_limit = 64) {
  bytes p = {0x60, 0, 0, 0};
  put16(p, payload.size());
  append(p, {next, hop_limit});
  append(p, bytes(way.from, way.from + 16));
  append(p, bytes(way.to, way.to + 16));
  append(p, payload);
  return p;
}

// What a message's checksum over the pseudo header has to be; its field is zero.
inline uint16_t checksum6(ip6_way way, uint8_t protocol, const bytes& message) {
  const uint32_t sum =
      sum_of(way.from, 16, sum_of(way.to, 16)) + static_cast<uint32_t>(message.size()) + protocol;
  return checksum_of(sum_of(message.data(), message.size(), sum));
}

inline bytes tcp_segment(const connection& c, uint8_t flags, uint32_t sequence,
                         uint32_t acknowledged, uint16_t window, bytes options,
                         const bytes& payload) {
  options.resize((options.size() + 3) / 4 * 4);
  bytes s;
  put16(s, c.peer_port);
  put16(s, c.our_port);
  put32(s, sequence);
  put32(s, acknowledged);
  s.push_back(static_cast<uint8_t>((20 + options.size()) / 4 << 4));
  s.push_back(flags);
  put16(s, window);
  put32(s, flags & 0x20 ? static_cast<uint32_t>(payload.size()) : 0); // an urgent pointer
  append(s, options);
  append(s, payload);
  return s;
}

} // namespace fuzz
