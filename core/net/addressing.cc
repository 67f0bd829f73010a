#include "core/net/addressing.hh"

#include "core/boot/options.hh"
#include "core/fs/node.hh"
#include "core/log/log.hh"
#include "core/net/address_config.hh"
#include "lwip/dhcp.h"
#include "lwip/dns.h"
#include "lwip/netif.h"

namespace oblako::net {
namespace {

uint32_t name_servers[DNS_MAX_SERVERS]; // network byte order, 0: none

size_t append_address(char* to, size_t room, const char* before, uint32_t a, const char* after) {
  return log::format(to, room, "%s%u.%u.%u.%u%s", before, a & 0xff, a >> 8 & 0xff, a >> 16 & 0xff,
                     a >> 24, after);
}

void write_resolver_file() {
  char text[128];
  size_t length = 0;
  for (uint32_t server : name_servers)
    if (server != 0)
      length += append_address(text + length, sizeof text - length, "nameserver ", server, "\n");
  if (fs::write_boot_file && length != 0)
    (void)fs::write_boot_file("/etc/resolv.conf", text, length);
}

int prefix_length(uint32_t mask) {
  return ~mask == 0 ? 32 : __builtin_clz(~mask);
}

void announce(netif& n, const char* how) {
  char line[96];
  const uint32_t mask = lwip_ntohl(ip4_addr_get_u32(netif_ip4_netmask(&n)));
  size_t at = append_address(line, sizeof line, "", ip4_addr_get_u32(netif_ip4_addr(&n)), "/");
  at += log::format(line + at, sizeof line - at, "%d", prefix_length(mask));
  if (const uint32_t gateway = ip4_addr_get_u32(netif_ip4_gw(&n)))
    append_address(line + at, sizeof line - at, ", gateway ", gateway, "");
  log::info("net: %c%c%d has %s (%s)", n.name[0], n.name[1], n.num - 1, line, how);
}

// Also called when one of the interface's IPv6 addresses changes its state: only a new IPv4 address
// is news here.
void status_changed(netif* n) {
  constexpr unsigned max_interfaces = 16; // devices (8, device.hh) and the loopback
  static ip4_addr_t announced[max_interfaces];
  ip4_addr_t& last = announced[n->num % max_interfaces];
  if (!dhcp_supplied_address(n) || ip4_addr_cmp(&last, netif_ip4_addr(n)))
    return;
  last = *netif_ip4_addr(n);
  write_resolver_file();
  announce(*n, "DHCP");
}

void set_static(netif& n, const ipv4_config& config) {
  ip4_addr_t address{config.address}, mask{config.mask}, gateway{config.gateway};
  netif_set_addr(&n, &address, &mask, &gateway);
  for (unsigned i = 0; i < config.name_server_count; ++i)
    name_servers[i] = config.name_servers[i];
  write_resolver_file();
  announce(n, "ip=");
}

// True if the command line gives a usable address.
bool configure_from_options(netif& n) {
  const char* ip = boot::option("ip");
  const char* gateway = boot::option("gw");
  const char* servers = boot::option("dns");
  if (!ip)
    return false;
  ipv4_config config;
  const char* complaint;
  if (parse_ipv4_config(ip, gateway, servers, config, complaint)) {
    set_static(n, config);
    return true;
  }
  log::error("net: %s (ip=%s gw=%s dns=%s); asking DHCP instead", complaint, ip,
             gateway ? gateway : "", servers ? servers : "");
  return false;
}

void start_ipv6(netif& n) {
  netif_create_ip6_linklocal_address(&n, 1);
  n.ip6_autoconfig_enabled = 1;
}

} // namespace

void configure_addresses(netif& n, bool first) {
  const char* hostname = boot::option("hostname");
  netif_set_hostname(&n, hostname ? hostname : "oblako");
  netif_set_status_callback(&n, status_changed);
  start_ipv6(n);
  const bool by_hand = first && configure_from_options(n);
  netif_set_up(&n);
  if (!by_hand && dhcp_start(&n) != ERR_OK)
    log::error("net: DHCP could not be started");
}

} // namespace oblako::net

// What a DHCP server says about name servers (see LWIP_DNS in lwipopts.h).
extern "C" void dns_setserver(u8_t number, const ip_addr_t* server) {
  if (number < DNS_MAX_SERVERS && server && IP_IS_V4(server))
    oblako::net::name_servers[number] = ip4_addr_get_u32(ip_2_ip4(server));
}
