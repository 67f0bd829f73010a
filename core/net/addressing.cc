#include "core/net/addressing.hh"

#include "core/boot/options.hh"
#include "core/log/log.hh"
#include "core/net/address_config.hh"
#include "core/net/claimed_addresses.hh"
#include "core/net/name_servers.hh"
#include "hooks.h"
#include "lwip/dhcp.h"
#include "lwip/netif.h"

namespace oblako::net {
namespace {

constexpr unsigned max_interfaces = 16; // devices (8, device.hh) and the loopback

size_t append_address(char* to, size_t room, const char* before, uint32_t a, const char* after) {
  return log::format(to, room, "%s%u.%u.%u.%u%s", before, a & 0xff, a >> 8 & 0xff, a >> 16 & 0xff,
                     a >> 24, after);
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
  static ip4_addr_t announced[max_interfaces];
  ip4_addr_t& last = announced[n->num % max_interfaces];
  if (ip4_addr_cmp(&last, netif_ip4_addr(n)))
    return;
  if (ip4_addr_isany_val(*netif_ip4_addr(n)))
    log::info("net: %c%c%d has no IPv4 address any more", n->name[0], n->name[1], n->num - 1);
  else if (!dhcp_supplied_address(n))
    return;
  last = *netif_ip4_addr(n);
  if (ip4_addr_isany_val(last))
    return;
  refresh_name_servers();
  announce(*n, "DHCP");
}

void set_static(netif& n, const ipv4_config& config) {
  ip4_addr_t address{config.address}, mask{config.mask}, gateway{config.gateway};
  netif_set_addr(&n, &address, &mask, &gateway);
  set_name_servers(config.name_servers, config.name_server_count);
  announce(n, "ip=");
}

// A unit that comes up with another address than it was given is worse than one that does not.
[[noreturn]] void refuse(const netif& n, const option_complaint& c) {
  char full[16];
  log::format(full, sizeof full, "en%d.%s", n.num - 1, c.name);
  boot::refuse_option(boot::option(full) ? full : c.name, c.value, c.what);
}

// An option for one interface: enN.NAME=, or for the first NAME= alone.
const char* option_for(const netif& n, const char* name) {
  char full[16];
  log::format(full, sizeof full, "en%d.%s", n.num - 1, name);
  const char* value = boot::option(full);
  const char* first = n.num == 1 ? boot::option(name) : nullptr;
  if (value && first)
    boot::refuse_option(name, first, "stands beside en0's option of that name");
  return value ? value : first;
}

// True if the command line gives an address.
bool configure_from_options(netif& n) {
  const char* ip = option_for(n, "ip");
  const char* gateway = option_for(n, "gw");
  const char* servers = option_for(n, "dns");
  if (!ip && gateway)
    refuse(n, {"gw", gateway, "needs ip=ADDRESS/LENGTH beside it"});
  if (!ip && servers)
    refuse(n, {"dns", servers, "needs ip=ADDRESS/LENGTH beside it"});
  if (!ip)
    return false;
  ipv4_config config;
  if (const option_complaint c = parse_ipv4_config(ip, gateway, servers, config); c.name)
    refuse(n, c);
  if (config.more_name_servers)
    log::warning("dns=%s names more than %u servers; the first %u are asked", servers,
                 config.name_server_count, config.name_server_count);
  set_static(n, config);
  return true;
}

ip6_addr_t ipv6_gateways[max_interfaces]; // by the interface's number; unspecified: none

// Takes an address from the front of a text that goes on with `end`. False: there is none.
bool take_ipv6(const char*& text, char end, ip6_addr_t& out) {
  char address[48];
  size_t n = 0;
  for (; *text && *text != end && n < sizeof address - 1; ++text)
    address[n++] = *text;
  address[n] = 0;
  return *text == end && ip6addr_aton(address, &out);
}

bool can_be_a_host(const ip6_addr_t& a) {
  return !ip6_addr_isany_val(a) && !ip6_addr_isloopback(&a) && !ip6_addr_ismulticast(&a);
}

// ip6= beside what routers announce. As for IPv4 nobody is asked whether somebody else has it.
void set_static_ipv6(netif& n) {
  const char* const ip = option_for(n, "ip6");
  const char* const gateway = option_for(n, "gw6");
  ip6_addr_t address, router = {};
  const char *text = ip, *router_text = gateway;
  if (gateway && (!take_ipv6(router_text, 0, router) || !can_be_a_host(router)))
    refuse(n, {"gw6", gateway, "is not the IPv6 address of a router"});
  ip6_addr_assign_zone(&router, IP6_UNICAST, &n);
  ipv6_gateways[n.num % max_interfaces] = router;
  if (!ip)
    return;
  if (!take_ipv6(text, '/', address) || text[1] != '6' || text[2] != '4' || text[3] != 0)
    refuse(n, {"ip6", ip, "is not ADDRESS/64, for example ip6=fd00::2/64"});
  if (!can_be_a_host(address))
    refuse(n, {"ip6", ip, "is not an address that a host can have"});
  if (gateway && ip6_addr_cmp_zoneless(&address, &router))
    refuse(n, {"gw6", gateway, "is the machine's own address"});
  s8_t place;
  if (netif_add_ip6_address(&n, &address, &place) != ERR_OK || place < 0) {
    log::error("net: no room for ip6=%s", ip);
    return;
  }
  netif_ip6_addr_set_valid_life(&n, place, IP6_ADDR_LIFE_STATIC);
  netif_ip6_addr_set_state(&n, place, IP6_ADDR_PREFERRED);
}

void start_ipv6(netif& n) {
  netif_create_ip6_linklocal_address(&n, 1);
  n.ip6_autoconfig_enabled = 1;
  set_static_ipv6(n);
}

} // namespace

void configure_addresses(netif& n) {
  netif_set_hostname(&n, boot::host_name());
  netif_set_status_callback(&n, status_changed);
  start_ipv6(n);
  const bool by_hand = configure_from_options(n);
  netif_set_up(&n);
  if (!by_hand && dhcp_start(&n) != ERR_OK)
    log::error("net: DHCP could not be started");
}

void check_interface_options(unsigned interfaces) {
  const boot::named_option o = boot::interface_option_beyond(interfaces);
  if (o.name)
    boot::refuse_option(o.name, o.value, "is for an interface that this machine does not have");
}

// lwIP gives up on DHCP when a lease has ended and there is no memory to ask for the next.
void keep_addresses(netif& n) {
  try_addresses_again(n);
  const dhcp* client = netif_dhcp_data(&n);
  if (client && !client->pcb_allocated)
    dhcp_start(&n);
}

} // namespace oblako::net

// An address a host can have, a mask of leading ones and a lease. In the host's byte order; without
// a mask all ones, without a lease 0.
extern "C" u8_t oblako_dhcp_usable(u32_t address, u32_t mask, u32_t lease) {
  const uint32_t first = address >> 24, host = address & ~mask;
  return lease != 0 && mask != 0 && (~mask & (~mask + 1)) == 0 && first != 0 && first != 127 &&
         first < 224 && (~mask <= 1 || (host != 0 && host != ~mask));
}

// gw6=, before any router that announced itself (nd6.c).
extern "C" const ip6_addr_t* oblako_nd6_gateway(netif* n, const ip6_addr_t*) {
  const ip6_addr_t& gateway = oblako::net::ipv6_gateways[n->num % oblako::net::max_interfaces];
  return ip6_addr_isany_val(gateway) ? nullptr : &gateway;
}
