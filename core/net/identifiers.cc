// What lwIP asks for when it makes a datagram that may be cut into fragments (patch 62). TCP's
// segments may not be cut, and have 0 (RFC 6864, 4.1).
#include "core/net/identifiers.hh"

#include "core/mem/frames.hh"
#include "core/mem/heap.hh"
#include "core/net/port.hh"
#include "hooks.h"
#include "lwip/prot/ip6.h"

namespace oblako::net {
namespace {

// One for each 64 kB of memory, as far as that is useful.
constexpr uint64_t memory_per_counter = 64_KiB;
constexpr uint32_t fewest_counters = 64, most_counters = 16'384;

constinit ip_identifiers identifiers;

uint32_t how_many() {
  const uint64_t wanted = mem::frame_usage().total_bytes / memory_per_counter;
  uint32_t count = fewest_counters;
  while (count < wanted && count < most_counters)
    count *= 2;
  return count;
}

// False: there is no memory.
bool start() {
  const uint32_t count = how_many();
  auto* counters = static_cast<uint32_t*>(mem::allocate(count * sizeof(uint32_t)));
  if (!counters)
    return false;
  // Where a destination begins is the keyed offset's secret, not the counter's: to draw a random
  // number for each of them would take most of what DHCP may add to a boot.
  __builtin_memset(counters, 0, count * sizeof(uint32_t));
  const auto half = [] { return uint64_t{random_word()} << 32 | random_word(); };
  const uint64_t first = half();
  identifiers.start({first, half()}, counters, count);
  return true;
}

uint32_t next(const ip_identifiers::datagram& d) {
  if (!identifiers.is_started() && !start()) [[unlikely]]
    return random_word();
  return identifiers.next(d);
}

} // namespace
} // namespace oblako::net

using namespace oblako::net;

extern "C" {

u16_t oblako_ip4_id(const ip4_addr_t* from, const ip4_addr_t* to, u8_t protocol) {
  ip_identifiers::datagram d;
  d.from[0] = from ? ip4_addr_get_u32(from) : 0;
  d.to[0] = ip4_addr_get_u32(to);
  d.protocol = protocol;
  return static_cast<u16_t>(lwip_htons(static_cast<u16_t>(next(d))));
}

u32_t oblako_ip6_fragment_id(const ip6_hdr* header) {
  ip_identifiers::datagram d;
  __builtin_memcpy(d.from, header->src.addr, sizeof d.from);
  __builtin_memcpy(d.to, header->dest.addr, sizeof d.to);
  return next(d);
}

} // extern "C"
