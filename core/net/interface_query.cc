#include "core/net/interface_query.hh"

#include "core/mem/app_memory.hh"
#include "core/net/stack.hh"
#include "lwip/netif.h"
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>

namespace oblako::net {

// lwIP's number counts from 0 over all kinds; the loopback is the first and known as "lo"; the rest
// are "en0" and so on.
void interface_name(const netif& n, char* to) {
  memset(to, 0, IFNAMSIZ);
  to[0] = n.name[0];
  to[1] = n.name[1];
  if (to[0] != 'l')
    to[2] = static_cast<char>('0' + (n.num - 1) % 10);
}

uint16_t interface_flags(const netif& n) {
  unsigned flags = 0;
  if (netif_is_up(&n))
    flags |= IFF_UP;
  if (netif_is_link_up(&n))
    flags |= IFF_RUNNING;
  if (n.name[0] == 'l')
    flags |= IFF_LOOPBACK;
  else
    flags |= IFF_BROADCAST | IFF_MULTICAST;
  return static_cast<uint16_t>(flags);
}

uint32_t interface_mtu(const netif& n) {
  return n.mtu ? n.mtu : 65536;
}

namespace {

bool same_name(const char* a, const char* b) {
  for (unsigned i = 0; i < IFNAMSIZ; ++i) {
    if (a[i] != b[i])
      return false;
    if (a[i] == 0)
      break;
  }
  return true;
}

netif* find(const char* name) {
  char own[IFNAMSIZ];
  for (netif* n = netif_list; n; n = n->next) {
    interface_name(*n, own);
    if (same_name(own, name))
      return n;
  }
  return nullptr;
}

void put_address(sockaddr& to, uint32_t address) {
  auto& in = reinterpret_cast<sockaddr_in&>(to);
  memset(&in, 0, sizeof in);
  in.sin_family = AF_INET;
  in.sin_addr.s_addr = address;
}

result<void> answer(unsigned long request, const netif& n, ifreq& r) {
  const uint32_t address = ip4_addr_get_u32(netif_ip4_addr(&n));
  const uint32_t mask = ip4_addr_get_u32(netif_ip4_netmask(&n));
  switch (request) {
  case SIOCGIFADDR:
    put_address(r.ifr_addr, address);
    return {};
  case SIOCGIFNETMASK:
    put_address(r.ifr_netmask, mask);
    return {};
  case SIOCGIFBRDADDR:
    put_address(r.ifr_broadaddr, address | ~mask);
    return {};
  case SIOCGIFFLAGS:
    r.ifr_flags = static_cast<short>(interface_flags(n));
    return {};
  case SIOCGIFMTU:
    r.ifr_mtu = static_cast<int>(interface_mtu(n));
    return {};
  case SIOCGIFINDEX:
    r.ifr_ifindex = netif_get_index(&n);
    return {};
  case SIOCGIFHWADDR:
    memset(&r.ifr_hwaddr, 0, sizeof r.ifr_hwaddr);
    r.ifr_hwaddr.sa_family = n.hwaddr_len ? ARPHRD_ETHER : ARPHRD_LOOPBACK;
    memcpy(r.ifr_hwaddr.sa_data, n.hwaddr, n.hwaddr_len);
    return {};
  default:
    return error::notty;
  }
}

// The interfaces that have an IPv4 address.
result<void> list(void* app_argument) {
  ifconf wanted = TRY(mem::read_app(static_cast<ifconf*>(app_argument)));
  int filled = 0;
  for (netif* n = netif_list; n; n = n->next) {
    if (ip4_addr_isany_val(*netif_ip4_addr(n)))
      continue;
    ifreq r = {};
    interface_name(*n, r.ifr_name);
    put_address(r.ifr_addr, ip4_addr_get_u32(netif_ip4_addr(n)));
    if (wanted.ifc_buf) {
      if (filled + static_cast<int>(sizeof r) > wanted.ifc_len)
        break;
      TRY(mem::copy_to_app(wanted.ifc_buf + filled, &r, sizeof r));
    }
    filled += static_cast<int>(sizeof r);
  }
  wanted.ifc_len = filled;
  return mem::write_app(static_cast<ifconf*>(app_argument), wanted);
}

result<void> control(unsigned long request, void* app_argument) {
  if (request < SIOCGIFNAME || request > SIOCGIFINDEX)
    return error::notty;
  stack_guard guard;
  if (request == SIOCGIFCONF)
    return list(app_argument);
  auto* app_request = static_cast<ifreq*>(app_argument);
  ifreq r = TRY(mem::read_app(app_request));
  netif* n = request != SIOCGIFNAME ? find(r.ifr_name)
             : r.ifr_ifindex <= 0 || r.ifr_ifindex > 0xff
                 ? nullptr // lwIP's numbers have 8 bits
                 : netif_get_by_index(static_cast<u8_t>(r.ifr_ifindex));
  if (!n)
    return error::nodev;
  if (request == SIOCGIFNAME)
    interface_name(*n, r.ifr_name);
  else
    TRY(answer(request, *n, r));
  return mem::write_app(app_request, r);
}

} // namespace

result<long> interface_control(unsigned long request, void* app_argument) {
  TRY(control(request, app_argument));
  return 0;
}

} // namespace oblako::net
