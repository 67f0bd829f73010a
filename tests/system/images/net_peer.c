/* What the conformance tests talk to. Ports of TCP: 7 echoes; 9 takes connections and reads only
 * when told; 10 echoes, with keepalive after a second; 11 has a backlog of one connection, and
 * takes it when told; 19 sends 32 kB of the pattern i % 251. UDP:
 * 7 echoes, 5000 takes commands and answers each with one datagram:
 *   read        everything that connections of port 9 hold; answers how much it was
 *   close       the connections of port 7
 *   connect P   from port 2000 to the sender's port P; the connection echoes
 *   predicted F answers field F (0: data, 1: acknowledgements, 2: sent) of those in
 *               /proc/net/netstat that tell of segments that took the short way
 *   call        connects to port 11 from here; answers the port it comes from
 *   accept      the next connection of port 11; answers its other port, -1 if there is none
 *   reopen      closes port 11 and opens it again
 *   count       answers how many connections are open
 *   time-wait   answers how many are in TIME_WAIT (/proc/net/sockstat) */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ECHO = 7, HOLD = 9, KEPT = 10, NARROW = 11, SOURCE = 19, COMMANDS = 5000, MOST = 256 };
enum { SOURCE_BYTES = 32768 };

static struct connection {
  int fd, port;
  size_t sent; /* of SOURCE */
} all[MOST];
static int count;
static char buffer[65536];

static void must(int ok, const char* what) {
  if (!ok) {
    printf("%s: %s\n", what, strerror(errno));
    exit(1);
  }
}

static int bound(int type, int port) {
  int fd = socket(AF_INET, type | SOCK_NONBLOCK, 0), on = 1;
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
  must(fd >= 0, "socket");
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  must(bind(fd, (void*)&a, sizeof a) == 0, "bind");
  return fd;
}

static void add(int fd, int port) {
  if (count == MOST) {
    close(fd);
    return;
  }
  all[count++] = (struct connection){fd, port, 0};
  int on = 1, one = 1, two = 2;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (port == KEPT) {
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &two, sizeof two);
  }
}

static void drop(int i) {
  close(all[i].fd);
  all[i] = all[--count];
}

static size_t read_held(void) {
  size_t total = 0;
  for (int i = 0; i < count; i++)
    for (ssize_t n; all[i].port == HOLD && (n = read(all[i].fd, buffer, sizeof buffer)) > 0;)
      total += n;
  return total;
}

static int predicted(int field) {
  unsigned long counts[3] = {0};
  FILE* f = fopen("/proc/net/netstat", "r");
  must(f != NULL, "netstat");
  int n = fscanf(f, "TcpExt: TCPHPHits TCPHPAcks TCPHPSent TcpExt: %lu %lu %lu", counts, counts + 1,
                 counts + 2);
  fclose(f);
  return n == 3 && field >= 0 && field < 3 ? (int)counts[field] : -1;
}

static int in_time_wait(void) {
  int waiting = -1;
  FILE* f = fopen("/proc/net/sockstat", "r");
  must(f != NULL, "sockstat");
  while (fgets(buffer, sizeof buffer, f) &&
         sscanf(buffer, "TCP: inuse %*d orphan %*d tw %d", &waiting) != 1)
    ;
  fclose(f);
  return waiting;
}

static int narrow = -1;

static int open_narrow(void) {
  close(narrow);
  narrow = bound(SOCK_STREAM, NARROW);
  must(listen(narrow, 0) == 0, "listen");
  return 1;
}

static int port_of(int (*name)(int, struct sockaddr*, socklen_t*), int fd) {
  struct sockaddr_in a = {0};
  socklen_t length = sizeof a;
  return name(fd, (void*)&a, &length) == 0 ? ntohs(a.sin_port) : -1;
}

static int call_narrow(void) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(NARROW)};
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  connect(s, (void*)&a, sizeof a);
  add(s, HOLD);
  return port_of(getsockname, s);
}

static int accept_narrow(void) {
  int s = accept4(narrow, 0, 0, SOCK_NONBLOCK);
  if (s < 0)
    return -1;
  add(s, HOLD);
  return port_of(getpeername, s);
}

static void command(int fd) {
  char text[64];
  struct sockaddr_in from;
  socklen_t length = sizeof from;
  ssize_t n = recvfrom(fd, text, sizeof text - 1, 0, (void*)&from, &length);
  if (n < 0)
    return;
  text[n] = 0;
  int answer = count;
  if (!strcmp(text, "read")) {
    answer = read_held();
  } else if (!strcmp(text, "close")) {
    for (int i = count - 1; i >= 0; i--)
      if (all[i].port == ECHO)
        drop(i);
  } else if (!strncmp(text, "connect ", 8)) {
    struct sockaddr_in to = from;
    to.sin_port = htons(atoi(text + 8));
    int s = bound(SOCK_STREAM, 2000);
    answer = connect(s, (void*)&to, sizeof to) == 0 || errno == EINPROGRESS;
    add(s, ECHO);
  }
  if (!strncmp(text, "reuse ", 6)) {
    // An echo's connection is dissolved, and its socket connects to that port.
    const struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
    struct sockaddr_in to = from;
    to.sin_port = htons(atoi(text + 6));
    answer = 0;
    for (int i = 0; i < count && !answer; i++)
      if (all[i].port == ECHO)
        answer = connect(all[i].fd, &nowhere, sizeof nowhere) == 0 &&
                 port_of(getpeername, all[i].fd) < 0 &&
                 (connect(all[i].fd, (void*)&to, sizeof to) == 0 || errno == EINPROGRESS);
  }
  if (!strcmp(text, "call"))
    answer = call_narrow();
  if (!strcmp(text, "reopen"))
    answer = open_narrow();
  if (!strcmp(text, "accept"))
    answer = accept_narrow();
  if (!strcmp(text, "time-wait"))
    answer = in_time_wait();
  if (!strncmp(text, "predicted ", 10))
    answer = predicted(atoi(text + 10));
  n = snprintf(text, sizeof text, "%d", answer);
  sendto(fd, text, n, 0, (void*)&from, length);
}

static void echo_datagram(int fd) {
  struct sockaddr_in from;
  socklen_t length = sizeof from;
  ssize_t n = recvfrom(fd, buffer, sizeof buffer, 0, (void*)&from, &length);
  if (n >= 0)
    sendto(fd, buffer, n, 0, (void*)&from, length);
}

/* False: the connection is over. */
static int serve(struct connection* c, short events) {
  if (c->port == SOURCE && c->sent < SOURCE_BYTES) {
    for (size_t i = c->sent; i < SOURCE_BYTES; i++)
      buffer[i - c->sent] = i % 251;
    ssize_t n = write(c->fd, buffer, SOURCE_BYTES - c->sent);
    if (n < 0 && errno != EAGAIN)
      return 0;
    c->sent += n > 0 ? n : 0;
  }
  if (!(events & (POLLIN | POLLHUP | POLLERR)))
    return 1;
  if (c->port == HOLD)
    return !(events & (POLLHUP | POLLERR));
  ssize_t n = read(c->fd, buffer, sizeof buffer);
  if (n == 0 || (n < 0 && errno != EAGAIN))
    return 0;
  for (ssize_t done = 0, k; c->port != SOURCE && done < n; done += k)
    if ((k = write(c->fd, buffer + done, n - done)) < 0)
      return 0;
  return 1;
}

int main(void) {
  static const int ports[] = {ECHO, HOLD, KEPT, SOURCE};
  enum { LISTENERS = 4 };
  struct pollfd p[LISTENERS + 2 + MOST];
  for (int i = 0; i < LISTENERS; i++) {
    p[i].fd = bound(SOCK_STREAM, ports[i]);
    must(listen(p[i].fd, 64) == 0, "listen");
  }
  open_narrow();
  p[LISTENERS].fd = bound(SOCK_DGRAM, COMMANDS);
  p[LISTENERS + 1].fd = bound(SOCK_DGRAM, ECHO);
  printf("ready\n");
  fflush(stdout);
  for (;;) {
    int first = LISTENERS + 2, had = count;
    for (int i = 0; i < first; i++)
      p[i].events = POLLIN;
    for (int i = 0; i < had; i++) {
      p[first + i].fd = all[i].fd;
      p[first + i].events = all[i].port == HOLD ? 0 : POLLIN;
      if (all[i].port == SOURCE && all[i].sent < SOURCE_BYTES)
        p[first + i].events |= POLLOUT;
    }
    poll(p, first + had, -1);
    for (int i = had - 1; i >= 0; i--)
      if (p[first + i].revents && !serve(&all[i], p[first + i].revents))
        drop(i);
    for (int i = 0; i < LISTENERS; i++)
      for (int fd; p[i].revents && (fd = accept4(p[i].fd, 0, 0, SOCK_NONBLOCK)) >= 0;)
        add(fd, ports[i]);
    if (p[LISTENERS].revents)
      command(p[LISTENERS].fd);
    if (p[LISTENERS + 1].revents)
      echo_datagram(p[LISTENERS + 1].fd);
  }
}
