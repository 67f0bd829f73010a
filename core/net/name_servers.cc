// The resolver of the C library asks the first three in the file, so of DHCP's no more than two
// stand before the routers'.
#include "core/net/name_servers.hh"

#include "core/base/types.hh"
#include "core/fs/node.hh"
#include "core/log/log.hh"
#include "core/time/clock.hh"
#include "hooks.h"
#include "lwip/dns.h"
#include "lwip/netif.h"

namespace oblako::net {
namespace {

constexpr uint32_t no_end = 0xffffffff; // as a lifetime
constexpr unsigned max_announced = 3;

struct announced {
  ip6_addr_t address;
  const netif* by;
  uint64_t ends; // 0: there is none
};

uint32_t by_hand[DNS_MAX_SERVERS], from_dhcp[DNS_MAX_SERVERS]; // network byte order, 0: none
announced from_routers[max_announced];
bool changed, written;

class resolver_file {
public:
  void add(uint32_t a) {
    if (a != 0)
      append("nameserver %u.%u.%u.%u\n", a & 0xff, a >> 8 & 0xff, a >> 16 & 0xff, a >> 24);
  }
  void add(const announced& s) {
    char text[IP6ADDR_STRLEN_MAX];
    if (s.ends == 0 || !ip6addr_ntoa_r(&s.address, text, sizeof text))
      return;
    append("nameserver %s", text);
    if (ip6_addr_islinklocal(&s.address))
      append("%%%c%c%d", s.by->name[0], s.by->name[1], s.by->num - 1);
    append("\n");
  }
  void write() {
    if (length_ != 0 || written) // else it is what the image has there
      written = fs::write_boot_file("/etc/resolv.conf", text_, length_).ok();
  }
  bool empty() const { return length_ == 0; }

private:
  template <class... Arguments>
  void append(const char* format, Arguments... arguments) {
    length_ += log::format(text_ + length_, sizeof text_ - length_, format, arguments...);
  }

  char text_[512];
  size_t length_ = 0;
};

void write_file() {
  changed = false;
  if (!fs::write_boot_file)
    return;
  resolver_file file;
  for (uint32_t server : by_hand)
    file.add(server);
  if (file.empty()) {
    for (unsigned i = 0; i < DNS_MAX_SERVERS - 1; ++i)
      file.add(from_dhcp[i]);
    for (const announced& server : from_routers)
      file.add(server);
    file.add(from_dhcp[DNS_MAX_SERVERS - 1]);
  }
  file.write();
}

// nullptr: it is not known.
announced* find(const ip6_addr_t& address, const netif* by) {
  for (announced& s : from_routers)
    if (s.ends != 0 && s.by == by && ip6_addr_cmp(&s.address, &address))
      return &s;
  return nullptr;
}

// A free place, or that of who goes first.
announced& first_to_go() {
  announced* first = &from_routers[0];
  for (announced& s : from_routers)
    if (s.ends < first->ends)
      first = &s;
  return *first;
}

void announce(const ip6_addr_t& address, const netif* by, uint32_t lifetime) {
  const uint64_t ends = lifetime == 0        ? 0
                        : lifetime == no_end ? time::no_deadline
                                             : time::monotonic_ns() + lifetime * time::ns_per_s;
  if (announced* known = find(address, by)) {
    known->ends = ends;
    changed |= ends == 0;
  } else if (announced& place = first_to_go(); place.ends < ends) {
    place = {address, by, ends};
    changed = true;
  }
}

} // namespace

void set_name_servers(const uint32_t* servers, unsigned count) {
  for (unsigned i = 0; i < DNS_MAX_SERVERS; ++i)
    by_hand[i] = i < count ? servers[i] : 0;
  write_file();
}

void refresh_name_servers() {
  for (announced& s : from_routers)
    if (s.ends != 0 && s.ends <= time::monotonic_ns()) {
      s.ends = 0;
      changed = true;
    }
  if (changed)
    write_file();
}

} // namespace oblako::net

using namespace oblako::net;

extern "C" {

// What a DHCP server says, beginning with number 0 (see LWIP_DNS in lwipopts.h).
void dns_setserver(u8_t number, const ip_addr_t* server) {
  if (number >= DNS_MAX_SERVERS || !server || !IP_IS_V4(server))
    return;
  const uint32_t address = ip4_addr_get_u32(ip_2_ip4(server));
  changed |= from_dhcp[number] != address;
  from_dhcp[number] = address;
  for (unsigned i = number + 1u; i < DNS_MAX_SERVERS; ++i) {
    changed |= from_dhcp[i] != 0;
    from_dhcp[i] = 0;
  }
}

void oblako_nd6_rdnss(netif* by, const ip6_addr_t* server, u32_t lifetime) {
  if (ip6_addr_isany(server) || ip6_addr_ismulticast(server) || ip6_addr_isloopback(server))
    return;
  announce(*server, by, lifetime);
  if (changed && !written) // who waits for the first is not kept waiting
    write_file();
}

} // extern "C"
