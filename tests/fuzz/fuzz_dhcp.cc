// DHCP: what a server, or whoever plays one, answers the second device's client: messages of all
// kinds in every order, their options in the field for them and in those for names (RFC 2131, 4.1),
// whole or in fragments of any size, with leases that begin and end. What follows is checked
// against what any host has to keep to.
//
// An input is a list of messages: how it is sent, whose address it offers, its pieces, its fields.
#include "tests/fuzz/resolver_file.hh"
#include "tests/fuzz/session.hh"

#include "lwip/dhcp.h"
#include "lwip/netif.h"
#include <stdio.h>
#include <stdlib.h>

using namespace oblako;
using namespace fuzz;

namespace {

constexpr uint32_t offered[] = {0x0a000107, 0x0a000108, 0xc0000205, 0x0a000002,
                                0,          0xffffffff, 0xe0000001, 0x7f000001};
constexpr uint32_t no_address = 0xffffffff;

// The fields before the options, of which file and server name may hold options too.
bytes header_of(bool known, uint32_t address, bytes server_name, bytes file) {
  bytes m = {2, 1, 6, 0};
  put32(m, __builtin_bswap32(devices[1].dhcp_transaction) + (known ? 0 : 1));
  m.resize(16);
  put32(m, address);
  put32(m, 0x0a000101);
  m.resize(28);
  append(m, {2, 0, 0, 0, 0, 2});
  m.resize(44);
  server_name.resize(64);
  append(m, server_name);
  file.resize(128);
  append(m, file);
  append(m, {0x63, 0x82, 0x53, 0x63});
  return m;
}

bytes datagram_of(const bytes& message) {
  bytes u;
  put16(u, 67);
  put16(u, 68);
  put16(u, 8 + message.size());
  put16(u, 0);
  append(u, message);
  return u;
}

// The first fragment is long enough for the client to look at the rest.
void deliver(const bytes& datagram, uint16_t id, size_t first, size_t rest) {
  constexpr uint16_t more = 0x2000;
  size_t at = 0, piece = rest == 0 ? datagram.size() : (first + 7) * 8;
  while (at < datagram.size()) {
    const size_t n = std::min(piece, datagram.size() - at);
    const bool last = at + n == datagram.size();
    const auto from = datagram.begin() + static_cast<ptrdiff_t>(at);
    devices[1].deliver(
        ethernet(2, 0x0800,
                 ipv4(17, bytes(from, from + static_cast<ptrdiff_t>(n)),
                      static_cast<uint16_t>(at / 8 | (last ? 0 : more)), id, no_address)),
        net::checksum_state::verified);
    at += n;
    piece = rest * 8;
    run_stack();
  }
}

void message(script& in, uint16_t id) {
  const uint8_t how = in.byte(), address = in.byte(), first = in.byte(), rest = in.byte();
  constexpr uint8_t types[] = {2, 2, 5, 5, 6, 0, 1, 8}; // OFFER, ACK, NAK
  const bytes options = in.some(in.word() % 1200);
  const bytes server_name = how & 0x10 ? in.some(64) : bytes();
  const bytes file = how & 0x20 ? in.some(128) : bytes();
  bytes m = header_of(!(how & 8), offered[address % std::size(offered)], server_name, file);
  if (const uint8_t type = types[how % 8])
    append(m, {53, 1, type});
  append(m, options);
  if (!(how & 0x40))
    m.push_back(255);
  deliver(datagram_of(m), id, first % 64, rest % 64);
  if (how & 0x80)
    pass(1000u << (address >> 3) % 16);
}

[[noreturn]] void broken(const char* what) {
  fprintf(stderr, "DHCP: %s\n", what);
  abort();
}

// What no server may bring about.
void check_host() {
  const netif* n = interface_of(devices[1]);
  const ip4_addr_t* a = netif_ip4_addr(n);
  const uint32_t address = __builtin_bswap32(ip4_addr_get_u32(a));
  const uint32_t mask = __builtin_bswap32(ip4_addr_get_u32(netif_ip4_netmask(n)));
  if (ip4_addr_ismulticast(a) || address >> 24 == 127 || address >= 0xf0000000)
    broken("an address that no host can have");
  if (address != 0 && mask < 0xfffffffe && (address | mask) == 0xffffffff)
    broken("its network's broadcast address");
  if (mask != 0 && ((~mask + 1) & ~mask) != 0)
    broken("a mask with a hole");
  if (n->mtu != 1500)
    broken("the link's packet size has changed");
  constexpr size_t much = 256 * 1024;
  if (held_bytes() > much)
    broken("more memory is held than a lease is worth");
  check_memory();
  check_resolver_file();
}

} // namespace

void fuzz::happen(script& in) {
  for (uint16_t id = 1; !in.ended(); ++id) {
    message(in, id);
    check_host();
  }
  net::stack_guard guard;
  dhcp_release_and_stop(interface_of(devices[1]));
}
