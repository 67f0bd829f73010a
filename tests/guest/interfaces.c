// net
/* Interfaces as getifaddrs(), if_nameindex() and netlink itself tell them. */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tap.h"

/* <linux/netlink.h>, which the C library has not. */
struct netlink_address {
  uint16_t family, pad;
  uint32_t port, groups;
};
struct header {
  uint32_t length;
  uint16_t type, flags;
  uint32_t sequence, port;
};
struct request {
  struct header header;
  uint8_t family, pad[3];
};
enum { error = 2, done = 3, new_link = 16, get_link = 18, new_address = 20, get_address = 22 };
enum { is_request = 1, dump = 0x300 };

static struct ifaddrs* find(struct ifaddrs* list, const char* name, int family) {
  for (struct ifaddrs* a = list; a; a = a->ifa_next)
    if (!strcmp(a->ifa_name, name) && a->ifa_addr && a->ifa_addr->sa_family == family)
      return a;
  return NULL;
}

static uint32_t ipv4(const struct sockaddr* a) {
  return a ? ntohl(((const struct sockaddr_in*)a)->sin_addr.s_addr) : 0;
}

/* The first interface that has an IPv4 address and is not the loopback. */
static const char* first_name(char* name) {
  struct ifaddrs* list = NULL;
  *name = 0;
  getifaddrs(&list);
  for (struct ifaddrs* a = list; a && !*name; a = a->ifa_next)
    if (strcmp(a->ifa_name, "lo") && a->ifa_addr && a->ifa_addr->sa_family == AF_INET)
      strcpy(name, a->ifa_name);
  freeifaddrs(list);
  return name;
}

static void test_getifaddrs(void) {
  char name[IFNAMSIZ];
  first_name(name);
  struct ifaddrs* list;
  if (!ok(getifaddrs(&list) == 0, "getifaddrs"))
    return;
  struct ifaddrs* a = find(list, "lo", AF_INET);
  ok(a && ipv4(a->ifa_addr) == INADDR_LOOPBACK && ipv4(a->ifa_netmask) == 0xff000000, "lo, IPv4");
  ok(a && (a->ifa_flags & (IFF_UP | IFF_LOOPBACK | IFF_RUNNING | IFF_BROADCAST)) ==
              (IFF_UP | IFF_LOOPBACK | IFF_RUNNING),
     "its flags");
  a = find(list, "lo", AF_INET6);
  ok(a && IN6_IS_ADDR_LOOPBACK(&((struct sockaddr_in6*)a->ifa_addr)->sin6_addr), "lo, IPv6");
  ok(find(list, "lo", AF_PACKET) && find(list, name, AF_PACKET), "both as packet addresses");

  struct ifreq r;
  strcpy(r.ifr_name, name);
  const int s = socket(AF_INET, SOCK_DGRAM, 0);
  a = find(list, name, AF_INET);
  ok(a && ioctl(s, SIOCGIFADDR, &r) == 0 && ipv4(a->ifa_addr) == ipv4(&r.ifr_addr) &&
         ipv4(a->ifa_addr) != 0,
     "the address is ioctl()'s");
  ok(a && ioctl(s, SIOCGIFNETMASK, &r) == 0 && ipv4(a->ifa_netmask) == ipv4(&r.ifr_netmask),
     "the mask");
  ok(a && ioctl(s, SIOCGIFBRDADDR, &r) == 0 && ipv4(a->ifa_broadaddr) == ipv4(&r.ifr_broadaddr),
     "the broadcast address");
  ok(a && ioctl(s, SIOCGIFFLAGS, &r) == 0 && (uint16_t)r.ifr_flags == (a->ifa_flags & 0xffff) &&
         r.ifr_flags & IFF_UP,
     "the flags");
  close(s);
  freeifaddrs(list);
}

static void test_names(void) {
  struct if_nameindex* all = if_nameindex();
  int count = 0, right = 1;
  char name[IFNAMSIZ];
  for (struct if_nameindex* i = all; i && i->if_index; i++, count++)
    right &= if_nametoindex(i->if_name) == i->if_index &&
             if_indextoname(i->if_index, name) == name && !strcmp(name, i->if_name);
  ok(all && count >= 2 && right && !strcmp(all[0].if_name, "lo"), "if_nameindex");
  if_freenameindex(all);
}

static int ask(int s, int type, int flags, uint32_t sequence) {
  struct request r = {{sizeof r, type, is_request | flags, sequence, 0}, 0, {0}};
  return send(s, &r, sizeof r, 0);
}

/* Reads to the end of a list; how many messages of a type, or -1. */
static int count(int s, int type, uint32_t sequence, uint32_t port) {
  static union {
    char data[32768];
    struct header header;
  } u;
  for (int found = 0;;) {
    const int bytes = recv(s, &u, sizeof u, MSG_DONTWAIT);
    if (bytes <= 0)
      return -1;
    for (int at = 0; at < bytes;) {
      struct header h;
      memcpy(&h, u.data + at, sizeof h);
      if (h.length < sizeof h || h.sequence != sequence || h.port != port)
        return -1;
      if (h.type == done)
        return found;
      found += h.type == type;
      at += (h.length + 3) & ~3;
    }
  }
}

static void test_netlink(void) {
  ok(socket(AF_NETLINK, SOCK_STREAM, 0) == -1 && errno == ESOCKTNOSUPPORT, "no streams");
  const int s = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0);
  struct netlink_address own = {.family = AF_NETLINK};
  socklen_t length = sizeof own;
  ok(s >= 0 && bind(s, (struct sockaddr*)&own, sizeof own) == 0, "bind to any port");
  ok(getsockname(s, (struct sockaddr*)&own, &length) == 0 && length == sizeof own &&
         own.family == AF_NETLINK && own.port != 0,
     "has one then");
  char octet;
  ok(recv(s, &octet, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN, "nothing yet");
  struct pollfd p = {.fd = s, .events = POLLIN | POLLOUT};
  ok(poll(&p, 1, 0) == 1 && p.revents == POLLOUT, "and so says poll");

  ok(ask(s, get_link, dump, 7) == sizeof(struct request), "asks for interfaces");
  ok(poll(&p, 1, 1000) == 1 && p.revents == (POLLIN | POLLOUT), "poll sees an answer");
  struct netlink_address from;
  length = sizeof from;
  const int bytes = recvfrom(s, &octet, 1, MSG_PEEK | MSG_TRUNC, (struct sockaddr*)&from, &length);
  ok(bytes > 32 && from.port == 0 && from.family == AF_NETLINK,
     "its size, and that it is the kernel's");
  ok(count(s, new_link, 7, own.port) >= 2, "two interfaces");
  ok(ask(s, get_address, dump, 8) > 0 && count(s, new_address, 8, own.port) >= 3,
     "three addresses");

  struct {
    struct header header;
    int32_t code;
    struct header request;
  } refusal;
  ok(ask(s, 4094, 0, 9) > 0 && recv(s, &refusal, sizeof refusal, 0) >= (int)sizeof refusal &&
         refusal.header.type == error && refusal.code == -EOPNOTSUPP &&
         refusal.request.type == 4094 && refusal.request.sequence == 9,
     "an unknown request is refused");
  struct netlink_address other = {.family = AF_NETLINK, .port = 999999};
  ok(sendto(s, &refusal, sizeof refusal, 0, (struct sockaddr*)&other, sizeof other) == -1 &&
         errno == ECONNREFUSED,
     "there is nobody else");
  ok(send(s, "short", 5, 0) == 5 && recv(s, &octet, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN,
     "what is no message is dropped");
  close(s);
}

int main(void) {
  for (int i = 0; i < 100 && !*first_name((char[IFNAMSIZ]){0}); i++)
    usleep(50000); /* DHCP */
  test_getifaddrs();
  test_names();
  test_netlink();
  return finish_counted();
}
