/* What the tests of path MTUs and ICMP errors talk to, over IPv4 and IPv6. TCP: 7 echoes, with
 * TCP_USER_TIMEOUT of a second, and prints the errno with which that ends; 19 sends 32 kB of the
 * pattern i % 251, 20 the same for ever. UDP: 7 echoes; 5000 takes commands and answers each with
 * one datagram, a number: mss         TCP_MAXSEG of the newest connection mtu         IP_MTU of it,
 * or IPV6_MTU error       SO_ERROR of the socket that a command made last connect P   such a
 * socket: TCP, to the sender's port P; 0, or errno udp P HOW   another: UDP from port 2001,
 * connected to there, with this IP_MTU_DISCOVER send N      N bytes by it; 0, or errno path IP_MTU
 * or IPV6_MTU of it how         IP_MTU_DISCOVER or IPV6_MTU_DISCOVER of it */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ECHO = 7, SOURCE = 19, STREAM = 20, COMMANDS = 5000 };
enum { SOURCE_BYTES = 32768, PERIOD = 251 };

static int newest = -1, made = -1;
static char pattern[PERIOD * 256];

static void must(int ok, const char* what) {
  if (!ok) {
    printf("%s: %s\n", what, strerror(errno));
    exit(1);
  }
}

static int bound(int type, int port) {
  const int fd = socket(AF_INET6, type, 0), on = 1;
  const struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
  must(fd >= 0, "socket");
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  must(bind(fd, (const void*)&a, sizeof a) == 0, "bind");
  return fd;
}

static void source(int fd, size_t left) {
  for (size_t at = 0; left;) {
    const size_t whole = sizeof pattern - at, n = left < whole ? left : whole;
    const ssize_t put = send(fd, pattern + at, n, MSG_NOSIGNAL);
    if (put <= 0)
      return;
    at = (at + put) % PERIOD;
    left -= put;
  }
}

static void echo(int fd) {
  static __thread char buffer[16384];
  const int patience = 1000;
  setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience, sizeof patience);
  ssize_t n;
  while ((n = recv(fd, buffer, sizeof buffer, 0)) > 0)
    if (send(fd, buffer, n, MSG_NOSIGNAL) != n)
      break;
  if (n < 0)
    printf("echo ended: %d\n", errno);
}

struct connection {
  int fd, port;
};

static void* serve(void* argument) {
  struct connection c = *(struct connection*)argument;
  free(argument);
  if (c.port == ECHO) {
    echo(c.fd);
  } else {
    source(c.fd, c.port == SOURCE ? SOURCE_BYTES : (size_t)-1);
    char rest[64];
    while (recv(c.fd, rest, sizeof rest, 0) > 0)
      ;
  }
  if (newest == c.fd)
    newest = -1;
  close(c.fd);
  return NULL;
}

static void start(int fd, int port) {
  struct connection* c = malloc(sizeof *c);
  pthread_t thread;
  const int on = 1;
  must(c != NULL, "malloc");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  *c = (struct connection){fd, port};
  newest = fd;
  must(pthread_create(&thread, NULL, serve, c) == 0, "thread");
  pthread_detach(thread);
}

static int is_mapped(const struct sockaddr_in6* a) {
  return IN6_IS_ADDR_V4MAPPED(&a->sin6_addr);
}

static int option(int fd, int level, int name) {
  int value = -1;
  socklen_t length = sizeof value;
  return getsockopt(fd, level, name, &value, &length) == 0 ? value : -errno;
}

static int ip_option(int fd, int mapped, int name4, int name6) {
  return option(fd, mapped ? IPPROTO_IP : IPPROTO_IPV6, mapped ? name4 : name6);
}

static int connect_to(const struct sockaddr_in6* from, int port) {
  struct sockaddr_in6 to = *from;
  to.sin6_port = htons(port);
  close(made);
  made = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);
  must(made >= 0, "socket");
  return connect(made, (const void*)&to, sizeof to) == 0 || errno == EINPROGRESS ? 0 : errno;
}

static int connect_datagrams(const struct sockaddr_in6* from, int port, int how) {
  struct sockaddr_in6 to = *from;
  to.sin6_port = htons(port);
  close(made);
  made = bound(SOCK_DGRAM, 2001);
  if (setsockopt(made, IPPROTO_IP, IP_MTU_DISCOVER, &how, sizeof how) ||
      setsockopt(made, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &how, sizeof how))
    return errno;
  return connect(made, (const void*)&to, sizeof to) == 0 ? 0 : errno;
}

static void command(int fd) {
  char text[64];
  struct sockaddr_in6 from;
  socklen_t length = sizeof from;
  ssize_t n = recvfrom(fd, text, sizeof text - 1, 0, (void*)&from, &length);
  if (n < 0)
    return;
  text[n] = 0;
  const int mapped = is_mapped(&from);
  int answer = -1, first = 0, second = 0;
  if (!strcmp(text, "mss"))
    answer = option(newest, IPPROTO_TCP, TCP_MAXSEG);
  else if (!strcmp(text, "mtu"))
    answer = ip_option(newest, mapped, IP_MTU, IPV6_MTU);
  else if (!strcmp(text, "error"))
    answer = option(made, SOL_SOCKET, SO_ERROR);
  else if (!strcmp(text, "path"))
    answer = ip_option(made, mapped, IP_MTU, IPV6_MTU);
  else if (!strcmp(text, "how"))
    answer = ip_option(made, mapped, IP_MTU_DISCOVER, IPV6_MTU_DISCOVER);
  else if (sscanf(text, "connect %d", &first) == 1)
    answer = connect_to(&from, first);
  else if (sscanf(text, "udp %d %d", &first, &second) == 2)
    answer = connect_datagrams(&from, first, second);
  else if (sscanf(text, "send %d", &first) == 1)
    answer = send(made, pattern, first, 0) == first ? 0 : errno;
  n = snprintf(text, sizeof text, "%d", answer);
  sendto(fd, text, n, 0, (void*)&from, length);
}

static void echo_datagram(int fd) {
  static char buffer[65536];
  struct sockaddr_in6 from;
  socklen_t length = sizeof from;
  const ssize_t n = recvfrom(fd, buffer, sizeof buffer, 0, (void*)&from, &length);
  if (n >= 0)
    sendto(fd, buffer, n, 0, (void*)&from, length);
}

int main(void) {
  static const int ports[] = {ECHO, SOURCE, STREAM};
  enum { LISTENERS = 3 };
  struct pollfd p[LISTENERS + 2];
  for (size_t i = 0; i < sizeof pattern; i++)
    pattern[i] = i % PERIOD;
  for (int i = 0; i < LISTENERS; i++) {
    p[i].fd = bound(SOCK_STREAM, ports[i]);
    must(listen(p[i].fd, 64) == 0, "listen");
  }
  p[LISTENERS].fd = bound(SOCK_DGRAM, COMMANDS);
  p[LISTENERS + 1].fd = bound(SOCK_DGRAM, ECHO);
  printf("ready\n");
  fflush(stdout);
  for (;;) {
    for (int i = 0; i < LISTENERS + 2; i++)
      p[i].events = POLLIN;
    poll(p, LISTENERS + 2, -1);
    for (int i = 0; i < LISTENERS; i++) {
      const int fd = p[i].revents ? accept(p[i].fd, NULL, NULL) : -1;
      if (fd >= 0)
        start(fd, ports[i]);
    }
    if (p[LISTENERS].revents)
      command(p[LISTENERS].fd);
    if (p[LISTENERS + 1].revents)
      echo_datagram(p[LISTENERS + 1].fd);
  }
}
