// /proc/net: what netstat, ss and node exporters read.
// net
// limit: 60
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tap.h"

static char text[65536];

static const char* slurp(const char* path) {
  int fd = open(path, O_RDONLY);
  ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  text[n < 0 ? 0 : n] = 0;
  close(fd);
  return text;
}

// The line that contains `part`.
static const char* line(const char* path, const char* part) {
  char* at = strstr(slurp(path), part);
  if (!at)
    return "";
  while (at > text && at[-1] != '\n')
    --at;
  at[strcspn(at, "\n")] = 0;
  return at;
}

static int port_of(int fd) {
  struct sockaddr_in6 a;
  socklen_t n = sizeof a;
  return getsockname(fd, (void*)&a, &n) == 0 ? ntohs(a.sin6_port) : -1;
}

int main(void) {
  struct sockaddr_in a = {.sin_family = AF_INET};
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int l = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0);
  bind(l, (void*)&a, sizeof a), listen(l, 8);
  a.sin_port = htons(port_of(l));
  char wanted[64];
  struct stat st;
  fstat(l, &st);

  sprintf(wanted, "0100007F:%04X 00000000:0000 0A ", port_of(l));
  const char* found = line("/proc/net/tcp", wanted);
  ok(*found, "tcp: a listener");
  ok(strtoul(found + 91, 0, 10) == st.st_ino, "its inode is fstat's");
  ok(strlen(found) == 149, "a line is 149 characters long");
  ok(!strncmp(slurp("/proc/net/tcp"), "  sl  local_address rem_address   st tx_queue", 45) &&
         strchr(text, '\n') - text == 149,
     "tcp: the header");
  connect(c, (void*)&a, sizeof a);
  sprintf(wanted, "0100007F:%04X 0100007F:%04X 01 00000000:00000000", port_of(c), port_of(l));
  ok(*line("/proc/net/tcp", wanted), "tcp: a connection");
  sprintf(wanted, "0100007F:%04X 00000000:0000 0A 00000000:00000001", port_of(l));
  ok(*line("/proc/net/tcp", wanted), "tcp: one waits to be accepted");
  int s = accept(l, 0, 0);
  write(c, "12345", 5);
  usleep(200000);
  sprintf(wanted, "0100007F:%04X 0100007F:%04X 01 00000000:00000005", port_of(l), port_of(c));
  ok(*line("/proc/net/tcp", wanted), "tcp: bytes not read");
  char target[64] = "";
  sprintf(wanted, "/proc/self/fd/%d", s);
  readlink(wanted, target, 63);
  fstat(s, &st);
  sprintf(wanted, "socket:[%lu]", (unsigned long)st.st_ino);
  ok(!strcmp(wanted, target), "/proc/self/fd names the inode");

  int six = socket(AF_INET6, SOCK_STREAM, 0), six_udp = socket(AF_INET6, SOCK_DGRAM, 0);
  struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  bind(six, (void*)&a6, sizeof a6), listen(six, 1), bind(six_udp, (void*)&a6, sizeof a6);
  sprintf(wanted, "00000000000000000000000001000000:%04X ", port_of(six));
  ok(*line("/proc/net/tcp6", wanted), "tcp6: a listener");
  sprintf(wanted, "00000000000000000000000001000000:%04X ", port_of(six_udp));
  ok(*line("/proc/net/udp6", wanted), "udp6: a socket");
  int u = socket(AF_INET, SOCK_DGRAM, 0);
  a.sin_port = 0;
  bind(u, (void*)&a, sizeof a);
  sprintf(wanted, "0100007F:%04X 00000000:0000 07 ", port_of(u));
  ok(*line("/proc/net/udp", wanted), "udp: a socket");

  int x = socket(AF_UNIX, SOCK_STREAM, 0);
  struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = "/tmp/proc.sock"};
  bind(x, (void*)&un, sizeof un), listen(x, 1);
  found = line("/proc/net/unix", "/tmp/proc.sock");
  ok(strstr(found, ": 00000002 00000000 00010000 0001 01 "), "unix: a listener and its path");

  ok(strstr(slurp("/proc/net/dev"), "    lo:") && strstr(text, "   en0:"), "dev: lo and en0");
  ok(!strncmp(text, "Inter-|   Receive ", 18), "dev: the header");
  int given = 0; // by DHCP, some time
  for (int i = 0; i < 100 && !given; ++i, usleep(50000))
    given = *line("/proc/net/route", "\t00000000\t0202000A\t0003\t") != 0;
  ok(given, "route: the gateway");
  ok(*line("/proc/net/route", "\t0002000A\t00000000\t0001\t"), "route: the network");
  unsigned long bytes = 0, packets = 0;
  found = strstr(line("/proc/net/dev", "en0:"), ":");
  ok(found && sscanf(found, ": %lu %lu", &bytes, &packets) == 2 && packets > 0 && bytes > packets,
     "dev: what DHCP received is counted");
  ok(*line("/proc/net/if_inet6", "00000000000000000000000000000001 01 80 10 80       lo"),
     "if_inet6: the loopback");
  ok(*line("/proc/net/if_inet6", "fe80000000000000"), "if_inet6: a link-local address");
  ok(!strncmp(slurp("/proc/net/sockstat"), "sockets: used ", 14) && strstr(text, "TCP: inuse "),
     "sockstat");
  ok(!strncmp(slurp("/proc/net/arp"), "IP address ", 11), "arp");
  ok(!strncmp(slurp("/proc/self/net/tcp"), "  sl", 4), "also under /proc/self/net");
  close(c), close(s), close(l);
  return finish_counted();
}
