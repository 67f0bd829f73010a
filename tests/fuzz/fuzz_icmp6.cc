// ICMPv6 on one link: neighbours, routers, redirects, multicast listeners, errors, each with a
// checksum that is right, from whoever may be there, while the application has a connection and
// sends datagrams, also to places whose link address nobody knows. What follows is checked against
// what any host has to keep to. At the end a client is served over IPv4 as before.
//
// An input is a list of messages: who sends it and to whom, how long it is, its bytes.
#include "tests/fuzz/resolver_file.hh"
#include "tests/fuzz/session.hh"

#include "lwip/nd6.h"
#include "lwip/netif.h"
#include "lwip/priv/nd6_priv.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

using namespace oblako;
using namespace fuzz;

namespace {

constexpr uint8_t router[16] = {0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01};
constexpr uint8_t unspecified[16] = {};
constexpr uint8_t all_nodes[16] = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};

const uint8_t* sender(uint8_t which) {
  const uint8_t* all[] = {peer_ip6,           router,   global_peer_ip6, unspecified,
                          devices[0].our_ip6, all_nodes};
  return all[which % std::size(all)];
}

const uint8_t* receiver(uint8_t which) {
  static uint8_t solicited_node[16] = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};
  memcpy(solicited_node + 13, devices[0].our_ip6 + 13, 3);
  const uint8_t* all[] = {devices[0].our_ip6, global_our_ip6, all_nodes, solicited_node};
  return all[which % std::size(all)];
}

void message(script& in) {
  const uint8_t from = in.byte(), to = in.byte(), how = in.byte();
  bytes m = in.some(in.byte());
  if (m.size() < 4)
    m.resize(4);
  const ip6_way way = {sender(from), receiver(to)};
  m[2] = m[3] = 0;
  if (!(how & 0x10))
    set16(m, 2, checksum6(way, 58, m));
  devices[0].deliver(ethernet(1, 0x86dd, ipv6(58, m, way, how & 0x20 ? 64 : 255)),
                     net::checksum_state::none);
  run_stack();
  if (how & 0x40)
    app.use_datagrams(how % 4, application::datagram_call::send, 100);
  if (how & 0x80)
    pass(1000u << (how % 8));
}

[[noreturn]] void broken(const char* what) {
  fprintf(stderr, "ICMPv6: %s\n", what);
  abort();
}

// What no router and no neighbour may bring about.
void check_host() {
  const netif* n = interface_of(devices[0]);
  if (netif_mtu6(n) < 1280 || netif_mtu6(n) > n->mtu)
    broken("a packet's size that IPv6 does not have (RFC 4861, 6.3.4)");
  if (n->mtu != 1500)
    broken("the link's own packet size has changed");
  for (s8_t i = 0; i < LWIP_IPV6_NUM_ADDRESSES; ++i) {
    const ip6_addr_t* a = netif_ip6_addr(n, i);
    if (!ip6_addr_isvalid(netif_ip6_addr_state(n, i)))
      continue;
    if (ip6_addr_isany(a) || ip6_addr_ismulticast(a) || ip6_addr_isloopback(a))
      broken("an address that no host can have");
    if (i != 0 && ip6_addr_islinklocal(a))
      broken("a second link-local address (RFC 4862, 5.5.3)");
  }
  if (memcmp(netif_ip6_addr(n, 0)->addr, devices[0].our_ip6, 16) != 0)
    broken("the link-local address has changed");
  constexpr size_t much = 512 * 1024;
  if (held_bytes() > much)
    broken("more memory is held than a link's neighbours are worth");
  check_memory();
  check_resolver_file();
}

} // namespace

void fuzz::happen(script& in) {
  connection c{true, listening_port, 1000};
  shake_hands(c, {});
  app.accept();
  while (!in.ended()) {
    message(in);
    check_host();
  }
}
