// /proc/net/dev, route, if_inet6 and arp, in Linux's format.
#include "core/fs/pseudo.hh"
#include "core/net/interface_internal.hh"
#include "core/net/interface_query.hh"
#include "core/net/proc_net.hh"
#include "core/net/stack.hh"
#include "lwip/etharp.h"
#include <net/if.h>

// Brings this file in with the sockets; what of it stays is up to who refers to the functions.
extern "C" {
extern const char oblako_proc_net_interfaces;
const char oblako_proc_net_interfaces = 0;
}

namespace oblako::net {
namespace {

using ulong = unsigned long;

void append_hex(fs::text_builder& out, uint32_t value) {
  char text[8];
  for (int i = 8; i-- > 0; value >>= 4)
    text[i] = "0123456789ABCDEF"[value & 15];
  out.append_bytes(text, sizeof text);
}

void pad_to(fs::text_builder& out, size_t length) {
  while (out.size() < length && !out.failed())
    out.append(" ");
}

void append_route(fs::text_builder& out, const char* name, uint32_t to, uint32_t gateway,
                  unsigned flags, uint32_t mask) {
  const size_t start = out.size();
  out.append("%s\t", name);
  append_hex(out, to);
  out.append("\t");
  append_hex(out, gateway);
  out.append("\t%04x\t0\t0\t0\t", flags);
  append_hex(out, mask);
  out.append("\t0\t0\t0");
  pad_to(out, start + 127);
  out.append("\n");
}

// The address' scope as Linux numbers it (include/net/ipv6.h).
unsigned scope_of(const ip6_addr_t& a) {
  return ip6_addr_isloopback(&a) ? 0x10 : ip6_addr_islinklocal(&a) ? 0x20 : 0;
}

void append_octets(fs::text_builder& out, uint32_t a) {
  out.append("%u.%u.%u.%u", a & 0xff, a >> 8 & 0xff, a >> 16 & 0xff, a >> 24);
}

} // namespace

void write_proc_dev(fs::text_builder& out) {
  out.append("Inter-|   Receive                                                |  Transmit\n"
             " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets "
             "errs drop fifo colls carrier compressed\n");
  stack_guard guard;
  for (netif* n = netif_list; n; n = n->next) {
    char name[IFNAMSIZ];
    interface_name(*n, name);
    traffic counted = {};
    if (is_ours(n))
      counted = interface_of(n).counted;
    out.append("%6s: %7lu %7lu    0 %4lu    0     0          0         0 %8lu %7lu    0 %4lu    0"
               "     0       0          0\n",
               name, ulong{counted.received_bytes}, ulong{counted.received}, ulong{counted.dropped},
               ulong{counted.sent_bytes}, ulong{counted.sent}, 0ul);
  }
}

void write_proc_route(fs::text_builder& out) {
  const size_t start = out.size();
  out.append("Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT");
  pad_to(out, start + 127);
  out.append("\n");
  constexpr unsigned up = 1, via_gateway = 2;
  stack_guard guard;
  for (netif* n = netif_list; n; n = n->next) {
    const uint32_t address = ip4_addr_get_u32(netif_ip4_addr(n));
    const uint32_t mask = ip4_addr_get_u32(netif_ip4_netmask(n));
    if (!is_ours(n) || address == 0 || !netif_is_up(n))
      continue;
    char name[IFNAMSIZ];
    interface_name(*n, name);
    const uint32_t gateway = ip4_addr_get_u32(netif_ip4_gw(n));
    if (n == netif_default && gateway != 0)
      append_route(out, name, 0, gateway, up | via_gateway, 0);
    append_route(out, name, address & mask, 0, up, mask);
  }
}

void write_proc_if_inet6(fs::text_builder& out) {
  stack_guard guard;
  for (netif* n = netif_list; n; n = n->next) {
    char name[IFNAMSIZ];
    interface_name(*n, name);
    for (s8_t i = 0; i < LWIP_IPV6_NUM_ADDRESSES; ++i) {
      if (ip6_addr_isinvalid(netif_ip6_addr_state(n, i)))
        continue;
      const ip6_addr_t& a = *netif_ip6_addr(n, i);
      for (uint32_t word : a.addr)
        out.append("%08x", __builtin_bswap32(word));
      constexpr unsigned tentative = 0x40, permanent = 0x80;
      const unsigned flags = (ip6_addr_istentative(netif_ip6_addr_state(n, i)) ? tentative : 0) |
                             (netif_ip6_addr_isstatic(n, i) ? permanent : 0);
      out.append(" %02x %02x %02x %02x %8s\n", unsigned{netif_get_index(n)},
                 ip6_addr_isloopback(&a) ? 128u : 64u, scope_of(a), flags, name);
    }
  }
}

void write_proc_arp(fs::text_builder& out) {
  out.append("IP address       HW type     Flags       HW address            Mask     Device\n");
  stack_guard guard;
  for (size_t i = 0; i < ARP_TABLE_SIZE; ++i) {
    ip4_addr_t* ip;
    netif* n;
    eth_addr* mac;
    if (!etharp_get_entry(i, &ip, &n, &mac))
      continue;
    char name[IFNAMSIZ];
    interface_name(*n, name);
    const size_t start = out.size();
    append_octets(out, ip4_addr_get_u32(ip));
    pad_to(out, start + 17);
    out.append("0x1         0x2         %02x:%02x:%02x:%02x:%02x:%02x     *        %s\n",
               mac->addr[0], mac->addr[1], mac->addr[2], mac->addr[3], mac->addr[4], mac->addr[5],
               name);
  }
}

} // namespace oblako::net
