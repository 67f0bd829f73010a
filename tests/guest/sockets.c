// Stream and datagram sockets over the loopback: what Linux does, case by case.
// limit: 60
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tap.h"

static struct sockaddr_in local(int port) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return a;
}

static int port_of(int fd) {
  struct sockaddr_in a;
  socklen_t n = sizeof a;
  return getsockname(fd, (void*)&a, &n) == 0 ? ntohs(a.sin_port) : -1;
}

static int listener(int backlog) {
  int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  struct sockaddr_in a = local(0);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(fd, (void*)&a, sizeof a) || listen(fd, backlog))
    return -1;
  return fd;
}

// Two connected sockets.
static int pair(int out[2]) {
  int l = listener(8);
  struct sockaddr_in a = local(port_of(l));
  out[0] = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(out[0], (void*)&a, sizeof a))
    return -1;
  out[1] = accept(l, 0, 0);
  close(l);
  return out[1] < 0 ? -1 : 0;
}

static int events(int fd, int wanted) {
  struct pollfd p = {fd, wanted, 0};
  return poll(&p, 1, 0) < 0 ? -1 : p.revents;
}

static int events_within(int fd, int wanted, int ms) {
  struct pollfd p = {fd, wanted, 0};
  return poll(&p, 1, ms) < 0 ? -1 : p.revents;
}

static void basic(void) {
  int l = listener(8);
  ok(l >= 0, "bind to a free port and listen");
  struct sockaddr_in a = local(port_of(l)), b;
  int c = socket(AF_INET, SOCK_STREAM, 0);
  ok(connect(c, (void*)&a, sizeof a) == 0, "connect");
  socklen_t n = sizeof b;
  int s = accept4(l, (void*)&b, &n, SOCK_CLOEXEC);
  ok(s >= 0 && n == sizeof b && ntohs(b.sin_port) == port_of(c), "accept4 tells the peer");
  n = sizeof b;
  ok(getpeername(c, (void*)&b, &n) == 0 && b.sin_port == a.sin_port &&
         b.sin_addr.s_addr == htonl(INADDR_LOOPBACK),
     "getpeername");
  char buffer[64];
  ok(write(c, "hello", 5) == 5 && read(s, buffer, sizeof buffer) == 5 &&
         !memcmp(buffer, "hello", 5),
     "one way");
  ok(send(s, "world!", 6, 0) == 6 && recv(c, buffer, 3, 0) == 3 &&
         recv(c, buffer + 3, 60, 0) == 3 && !memcmp(buffer, "world!", 6),
     "the other, in parts");
  ok(send(c, "peek", 4, 0) == 4 && recv(s, buffer, 64, MSG_PEEK) == 4 &&
         recv(s, buffer, 64, 0) == 4 && !memcmp(buffer, "peek", 4),
     "MSG_PEEK leaves it there");
  static char large[4000];
  ok(send(c, large, 0, 0) == 0 && write(c, large, sizeof large) == sizeof large &&
         recv(s, large, sizeof large, MSG_WAITALL) == sizeof large,
     "nothing is sent, and then something");
  int waiting = -1;
  write(c, "1234567", 7);
  events_within(s, POLLIN, 1000); // Nagle waits for the acknowledgement of what went before
  ok(ioctl(s, FIONREAD, &waiting) == 0 && waiting == 7, "FIONREAD");
  read(s, buffer, 64);
  ok(recv(s, buffer, 64, MSG_DONTWAIT) == -1 && errno == EAGAIN, "MSG_DONTWAIT with nothing there");
  ok(send(c, buffer, 1, MSG_OOB) == -1, "MSG_OOB is refused");
  struct iovec v[2] = {{"ab", 2}, {"cde", 3}};
  struct msghdr m = {.msg_iov = v, .msg_iovlen = 2};
  ok(sendmsg(c, &m, 0) == 5, "sendmsg");
  char x[2], y[10];
  struct iovec w[2] = {{x, 2}, {y, 10}};
  struct msghdr r = {.msg_iov = w, .msg_iovlen = 2};
  ok(recvmsg(s, &r, 0) == 5 && x[1] == 'b' && y[2] == 'e', "recvmsg");
  ok(shutdown(c, SHUT_WR) == 0 && read(s, buffer, 64) == 0, "SHUT_WR is the end of file there");
  ok(write(s, "late", 4) == 4 && read(c, buffer, 64) == 4, "the other direction goes on");
  close(s);
  ok(read(c, buffer, 64) == 0, "end of file after close");
  close(c);
  close(l);
}

static void refused(void) {
  int l = listener(1), port = port_of(l);
  close(l);
  struct sockaddr_in a = local(port);
  int c = socket(AF_INET, SOCK_STREAM, 0);
  ok(connect(c, (void*)&a, sizeof a) == -1 && errno == ECONNREFUSED,
     "connect to nobody is refused");
  close(c);
  c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  int r = connect(c, (void*)&a, sizeof a);
  ok(r == -1 && (errno == EINPROGRESS || errno == ECONNREFUSED), "nonblocking connect to nobody");
  int e = 0;
  socklen_t n = sizeof e;
  if (errno == EINPROGRESS) {
    ok(events_within(c, POLLOUT, 1000) & (POLLERR | POLLHUP), "poll reports the failure");
    getsockopt(c, SOL_SOCKET, SO_ERROR, &e, &n);
    ok(e == ECONNREFUSED, "SO_ERROR says why");
    getsockopt(c, SOL_SOCKET, SO_ERROR, &e, &n);
    ok(e == 0, "and is cleared by reading");
  } else {
    ok(1, "poll not needed"), ok(1, "SO_ERROR not needed"), ok(1, "nothing to clear");
  }
  close(c);
  c = socket(AF_INET, SOCK_STREAM, 0);
  char b;
  ok(read(c, &b, 1) == -1 && errno == ENOTCONN, "read without a connection: ENOTCONN");
  signal(SIGPIPE, SIG_IGN);
  ok(write(c, &b, 1) == -1 && errno == EPIPE, "write without a connection: EPIPE");
  struct sockaddr_in p;
  n = sizeof p;
  ok(getpeername(c, (void*)&p, &n) == -1 && errno == ENOTCONN, "getpeername without: ENOTCONN");
  ok(listen(0, 1) == -1 && errno == ENOTSOCK, "listen on the console: ENOTSOCK");
  ok(listen(77, 1) == -1 && errno == EBADF, "listen on nothing: EBADF");
  close(c);
}

static void nonblocking(void) {
  int l = listener(8);
  fcntl(l, F_SETFL, O_NONBLOCK);
  ok(accept(l, 0, 0) == -1 && errno == EAGAIN, "accept with nobody there");
  struct sockaddr_in a = local(port_of(l));
  int c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  int r = connect(c, (void*)&a, sizeof a);
  ok(r == 0 || errno == EINPROGRESS, "nonblocking connect starts");
  ok(events_within(c, POLLOUT, 1000) == POLLOUT, "and becomes writable");
  int e = -1;
  socklen_t n = sizeof e;
  ok(getsockopt(c, SOL_SOCKET, SO_ERROR, &e, &n) == 0 && e == 0, "SO_ERROR is 0");
  ok(connect(c, (void*)&a, sizeof a) == 0, "connect again: done");
  ok(connect(c, (void*)&a, sizeof a) == -1 && errno == EISCONN, "and again: EISCONN");
  ok(events_within(l, POLLIN, 1000) == POLLIN, "the listener is readable");
  int s = accept(l, 0, 0);
  ok(s >= 0 && !(fcntl(s, F_GETFL) & O_NONBLOCK), "accept does not inherit O_NONBLOCK");
  // Fill it.
  char block[4096];
  memset(block, 'x', sizeof block);
  size_t sent = 0;
  for (ssize_t k; (k = write(c, block, sizeof block)) > 0;)
    sent += k;
  ok(errno == EAGAIN && sent >= 65536, "writes fill up and then EAGAIN");
  ok(!(events(c, POLLOUT) & POLLOUT), "a full socket is not writable");
  size_t got = 0;
  while (got < sent) {
    ssize_t k = read(s, block, sizeof block);
    if (k <= 0)
      break;
    got += k;
  }
  ok(got == sent, "all of it arrives");
  ok(events_within(c, POLLOUT, 1000) == POLLOUT, "writable again when read");
  close(c), close(s), close(l);
}

static void resets(void) {
  int p[2];
  char b[16];
  ok(pair(p) == 0, "a pair");
  write(p[0], "unread", 6);
  close(p[1]); // with data unread
  ok(events_within(p[0], POLLIN, 1000) & POLLHUP, "close with unread data resets: POLLHUP");
  ok(read(p[0], b, 16) == -1 && errno == ECONNRESET, "read: ECONNRESET");
  ok(read(p[0], b, 16) == 0, "then end of file");
  ok(send(p[0], b, 1, MSG_NOSIGNAL) == -1 && errno == EPIPE, "then EPIPE");
  close(p[0]);

  pair(p);
  struct linger l = {1, 0};
  setsockopt(p[1], SOL_SOCKET, SO_LINGER, &l, sizeof l);
  close(p[1]);
  ok(events_within(p[0], POLLIN, 1000) & POLLERR, "linger 0 resets: POLLERR");
  int e = 0;
  socklen_t n = sizeof e;
  getsockopt(p[0], SOL_SOCKET, SO_ERROR, &e, &n);
  ok(e == ECONNRESET, "SO_ERROR: ECONNRESET");
  close(p[0]);

  pair(p);
  close(p[1]);
  events_within(p[0], POLLIN, 1000);
  ssize_t first = send(p[0], b, 1, MSG_NOSIGNAL);
  events_within(p[0], 0, 1000);
  ok(first == 1 && send(p[0], b, 1, MSG_NOSIGNAL) == -1 && (errno == EPIPE || errno == ECONNRESET),
     "writing to one who has gone");
  close(p[0]);
}

static volatile int piped;
static void on_pipe(int n) {
  piped = n;
}

static void pipes(void) {
  int p[2];
  pair(p);
  struct sigaction s = {.sa_handler = on_pipe};
  sigaction(SIGPIPE, &s, 0);
  shutdown(p[0], SHUT_WR);
  ok(write(p[0], "x", 1) == -1 && errno == EPIPE && piped == SIGPIPE, "EPIPE raises SIGPIPE");
  piped = 0;
  ok(send(p[0], "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE && piped == 0, "unless MSG_NOSIGNAL");
  close(p[0]), close(p[1]);
  signal(SIGPIPE, SIG_IGN);
}

static void half_closed(void) {
  int p[2];
  pair(p);
  ok(events(p[0], POLLIN | POLLOUT | POLLRDHUP) == POLLOUT, "idle: writable only");
  shutdown(p[1], SHUT_WR);
  ok(events_within(p[0], POLLIN | POLLRDHUP, 1000) == (POLLIN | POLLRDHUP),
     "half closed: POLLRDHUP");
  ok(!(events(p[0], POLLIN) & POLLHUP), "but not POLLHUP");
  shutdown(p[0], SHUT_WR);
  ok(events_within(p[0], 0, 1000) == POLLHUP, "both: POLLHUP");
  ok(events_within(p[1], POLLIN | POLLRDHUP, 1000) == (POLLIN | POLLRDHUP | POLLHUP),
     "on both sides");
  close(p[0]), close(p[1]);
}

static void epolls(void) {
  int p[2], e = epoll_create1(0);
  pair(p);
  struct epoll_event v = {.events = EPOLLIN, .data.fd = p[0]}, out[4];
  epoll_ctl(e, EPOLL_CTL_ADD, p[0], &v);
  ok(epoll_wait(e, out, 4, 0) == 0, "epoll: nothing yet");
  write(p[1], "a", 1);
  ok(epoll_wait(e, out, 4, 1000) == 1 && out[0].data.fd == p[0] && out[0].events == EPOLLIN,
     "level: readable");
  ok(epoll_wait(e, out, 4, 0) == 1, "level: still readable");
  char b[8];
  read(p[0], b, 8);
  ok(epoll_wait(e, out, 4, 0) == 0, "level: not after reading");
  v.events = EPOLLIN | EPOLLET;
  epoll_ctl(e, EPOLL_CTL_MOD, p[0], &v);
  write(p[1], "b", 1);
  ok(epoll_wait(e, out, 4, 1000) == 1, "edge: readable");
  ok(epoll_wait(e, out, 4, 0) == 0, "edge: reported once");
  write(p[1], "c", 1);
  ok(epoll_wait(e, out, 4, 1000) == 1, "edge: again with more data");
  v.events = EPOLLIN | EPOLLONESHOT;
  epoll_ctl(e, EPOLL_CTL_MOD, p[0], &v);
  ok(epoll_wait(e, out, 4, 1000) == 1 && epoll_wait(e, out, 4, 0) == 0, "one shot");
  v.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP;
  epoll_ctl(e, EPOLL_CTL_MOD, p[0], &v);
  close(p[1]);
  int got = 0;
  for (int i = 0; i < 100 && !(got & EPOLLRDHUP); ++i)
    if (epoll_wait(e, out, 4, 10) == 1)
      got = out[0].events;
  ok(got & EPOLLRDHUP, "EPOLLRDHUP after close");
  close(p[0]);
  ok(epoll_wait(e, out, 4, 0) == 0, "a closed descriptor is gone from the set");
  close(e);
}

static void options(void) {
  int fd = socket(AF_INET, SOCK_STREAM, 0), v = 1;
  socklen_t n = sizeof v;
  ok(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &v, n) == 0 &&
         getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &v, &n) == 0 && v == 1,
     "TCP_NODELAY");
  v = 300;
  ok(setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &v, n) == 0 && (v = 0, 1) &&
         getsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &v, &n) == 0 && v == 300,
     "TCP_KEEPIDLE");
  v = 0;
  ok(setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &v, n) == -1 && errno == EINVAL, "of 0 is invalid");
  v = 1;
  ok(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &v, n) == 0 && (v = 0, 1) &&
         getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &v, &n) == 0 && v == 1,
     "SO_KEEPALIVE");
  v = 0;
  getsockopt(fd, SOL_SOCKET, SO_TYPE, &v, &n);
  ok(v == SOCK_STREAM, "SO_TYPE");
  getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &v, &n);
  ok(v == AF_INET, "SO_DOMAIN");
  getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &v, &n);
  ok(v == IPPROTO_TCP, "SO_PROTOCOL");
  v = 20000;
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &v, n);
  getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &v, &n);
  ok(v == 40000, "SO_SNDBUF reports the double");
  ok(setsockopt(fd, SOL_SOCKET, 4711, &v, n) == -1 && errno == ENOPROTOOPT, "an unknown option");
  ok(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &v, 1) == -1 && errno == EINVAL, "a short value");
  struct timeval t = {0, 50000};
  ok(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t) == 0, "SO_RCVTIMEO");
  close(fd);
  int p[2];
  pair(p);
  setsockopt(p[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
  char b;
  ok(read(p[0], &b, 1) == -1 && errno == EAGAIN, "a read that times out: EAGAIN");
  struct tcp_info info;
  n = sizeof info;
  ok(getsockopt(p[0], IPPROTO_TCP, TCP_INFO, &info, &n) == 0 && info.tcpi_state == TCP_ESTABLISHED,
     "TCP_INFO: established");
  v = 0, n = sizeof v;
  getsockopt(p[0], SOL_SOCKET, SO_ACCEPTCONN, &v, &n);
  ok(v == 0, "SO_ACCEPTCONN of a connection");
  close(p[0]), close(p[1]);
  int l = listener(1);
  getsockopt(l, SOL_SOCKET, SO_ACCEPTCONN, &v, &n);
  ok(v == 1, "SO_ACCEPTCONN of a listener");
  struct sockaddr_in a = local(port_of(l));
  int other = socket(AF_INET, SOCK_STREAM, 0);
  v = 1;
  setsockopt(other, SOL_SOCKET, SO_REUSEADDR, &v, sizeof v);
  ok(bind(other, (void*)&a, sizeof a) == -1 && errno == EADDRINUSE, "a listener's port is taken");
  a.sin_addr.s_addr = htonl(0x01020304), a.sin_port = 0;
  ok(bind(other, (void*)&a, sizeof a) == -1 && errno == EADDRNOTAVAIL, "somebody else's address");
  close(other), close(l);
  ok(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP) == -1 && errno == EPROTONOSUPPORT,
     "a wrong protocol");
  ok(socket(99, SOCK_STREAM, 0) == -1 && errno == EAFNOSUPPORT, "a wrong family");
}

// Large transfer with a thread at the other end.
static void* echo(void* arg) {
  int fd = *(int*)arg;
  static char block[65536];
  for (ssize_t n; (n = read(fd, block, sizeof block)) > 0;)
    for (ssize_t done = 0; done < n;) {
      ssize_t k = write(fd, block + done, n - done);
      if (k <= 0)
        return 0;
      done += k;
    }
  shutdown(fd, SHUT_WR);
  return 0;
}

static const size_t volume = 8 << 20;
static void* pour(void* arg) {
  int fd = *(int*)arg;
  unsigned char* data = malloc(100000);
  for (size_t at = 0; at < volume;) {
    size_t n = 1 + at % 99991;
    if (n > volume - at)
      n = volume - at;
    for (size_t i = 0; i < n; ++i)
      data[i] = (unsigned char)((at + i) * 2654435761u >> 24);
    for (size_t done = 0; done < n;) {
      ssize_t k = write(fd, data + done, n - done);
      if (k <= 0)
        return (void*)1;
      done += k;
    }
    at += n;
  }
  shutdown(fd, SHUT_WR);
  free(data);
  return 0;
}

static void large(void) {
  int p[2];
  pair(p);
  pthread_t echoing, pouring;
  pthread_create(&echoing, 0, echo, &p[1]);
  pthread_create(&pouring, 0, pour, &p[0]);
  size_t at = 0;
  int good = 1;
  static unsigned char b[30000];
  for (ssize_t n; (n = read(p[0], b, sizeof b)) > 0; at += n)
    for (ssize_t i = 0; i < n; ++i)
      good &= b[i] == (unsigned char)((at + i) * 2654435761u >> 24);
  void* failed;
  pthread_join(pouring, &failed), pthread_join(echoing, 0);
  ok(!failed && at == volume, "8 MB there and back");
  ok(good, "unchanged");
  close(p[0]), close(p[1]);
}

static void many(void) {
  enum { count = 200 };
  static int c[count], s[count];
  int l = listener(count), good = 1;
  struct sockaddr_in a = local(port_of(l));
  for (int i = 0; i < count; ++i) {
    c[i] = socket(AF_INET, SOCK_STREAM, 0);
    good &= connect(c[i], (void*)&a, sizeof a) == 0;
  }
  ok(good, "200 connections wait in the backlog");
  for (int i = 0; i < count; ++i)
    good &= (s[i] = accept(l, 0, 0)) >= 0;
  ok(good, "200 accepted");
  for (int i = 0; i < count; ++i)
    good &= write(c[i], &i, sizeof i) == sizeof i;
  for (int i = 0; i < count; ++i) {
    int v = -1;
    good &= read(s[i], &v, sizeof v) == sizeof v && v == i;
  }
  ok(good, "each has its own data");
  for (int i = 0; i < count; ++i)
    close(c[i]), close(s[i]);
  // Opened and closed over and over: nothing runs out.
  for (int i = 0; i < 2000 && good; ++i) {
    int x = socket(AF_INET, SOCK_STREAM, 0);
    good &= connect(x, (void*)&a, sizeof a) == 0;
    int y = accept(l, 0, 0);
    good &= y >= 0;
    close(y), close(x);
  }
  ok(good, "2000 more, one after the other");
  close(l);
}

static void backlog(void) {
  int l = listener(2), c[8], connected = 0;
  struct sockaddr_in a = local(port_of(l));
  for (int i = 0; i < 8; ++i) {
    c[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    connect(c[i], (void*)&a, sizeof a);
    connected += events_within(c[i], POLLOUT, 20) == POLLOUT;
  }
  ok(connected >= 2 && connected <= 4, "a backlog of 2 holds no more than a few");
  int s = accept(l, 0, 0);
  ok(s >= 0, "accept makes room");
  close(l);
  int gone = 0;
  for (int i = 1; i < 4; ++i)
    gone += (events_within(c[i], POLLIN, 500) & (POLLERR | POLLHUP)) != 0;
  ok(gone >= 1, "closing the listener resets who waited");
  close(s);
  for (int i = 0; i < 8; ++i)
    close(c[i]);
}

static int bound(int family, const void* address, socklen_t length, int port) {
  struct sockaddr_in6 to = {0};
  memcpy(&to, address, length);
  to.sin6_port = htons(port); // at the same place for both families
  int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
  setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  if (bind(fd, (void*)&to, length)) {
    close(fd);
    return -1;
  }
  return fd;
}

static int reaches(int family, const void* address, socklen_t length, int port, int listener) {
  struct sockaddr_in6 to = {0};
  memcpy(&to, address, length);
  to.sin6_port = htons(port);
  int fd = socket(family, SOCK_STREAM, 0);
  int good = connect(fd, (void*)&to, length) == 0 && events_within(listener, POLLIN, 1000);
  int taken = accept(listener, 0, 0);
  close(taken);
  close(fd);
  return good && taken >= 0;
}

static void listeners(void) {
  const int port = 5090;
  struct sockaddr_in any4 = {.sin_family = AF_INET}, one4 = local(0);
  struct sockaddr_in6 any6 = {.sin6_family = AF_INET6},
                      one6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  int any = bound(AF_INET, &any4, sizeof any4, port);
  int six = bound(AF_INET6, &any6, sizeof any6, port);
  ok(any >= 0 && six >= 0 && !listen(any, 8) && !listen(six, 8),
     "a listener of each family on one port");
  ok(reaches(AF_INET, &one4, sizeof one4, port, any) &&
         reaches(AF_INET6, &one6, sizeof one6, port, six),
     "each gets its family's connections");
  ok(bound(AF_INET, &one4, sizeof one4, port) < 0 && errno == EADDRINUSE,
     "an address under one that listens on all is taken");
  close(any);
  int one = bound(AF_INET, &one4, sizeof one4, port);
  ok(one >= 0 && !listen(one, 8) && reaches(AF_INET, &one4, sizeof one4, port, one),
     "and free when that is closed");
  struct sockaddr_in to = local(port);
  int waiting = socket(AF_INET, SOCK_STREAM, 0);
  ok(!connect(waiting, (void*)&to, sizeof to) && events_within(one, POLLIN, 1000),
     "a connection nobody has accepted");
  close(one);
  ok(events_within(waiting, POLLHUP, 1000), "ends with its listener");
  close(waiting);
  close(six);
  one = bound(AF_INET6, &any6, sizeof any6, port);
  ok(one >= 0, "a port is free when its last listener is closed");
  close(one);
}

static void datagrams(void) {
  int x = socket(AF_INET, SOCK_DGRAM, 0), y = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in a = local(0), b;
  ok(bind(x, (void*)&a, sizeof a) == 0, "UDP: bind");
  a = local(port_of(x));
  ok(sendto(y, "datagram", 8, 0, (void*)&a, sizeof a) == 8, "UDP: sendto");
  char buffer[64];
  socklen_t n = sizeof b;
  ok(recvfrom(x, buffer, 64, 0, (void*)&b, &n) == 8 && ntohs(b.sin_port) == port_of(y),
     "UDP: recvfrom");
  sendto(y, "12345678", 8, 0, (void*)&a, sizeof a);
  ok(recv(x, buffer, 3, MSG_TRUNC) == 8, "UDP: MSG_TRUNC tells the whole length");
  ok(connect(y, (void*)&a, sizeof a) == 0 && send(y, "", 0, 0) == 0 && recv(x, buffer, 64, 0) == 0,
     "UDP: an empty datagram");
  ok(send(x, "x", 1, 0) == -1 && errno == EDESTADDRREQ, "UDP: no destination");
  static char big[65508];
  ok(send(y, big, 65508, 0) == -1 && errno == EMSGSIZE, "UDP: too large");
  ok(send(y, big, 40000, 0) == 40000 && recv(x, big, 65507, 0) == 40000, "UDP: 40000 bytes");
  ok(events(x, POLLIN) == 0, "UDP: nothing left");
  close(x), close(y);
}

static void ipv6(void) {
  int l = socket(AF_INET6, SOCK_STREAM, 0), one = 1;
  struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT}, b;
  setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  ok(bind(l, (void*)&a, sizeof a) == 0 && listen(l, 4) == 0, "IPv6: listen on ::");
  socklen_t n = sizeof b;
  getsockname(l, (void*)&b, &n);
  a.sin6_port = b.sin6_port;
  a.sin6_addr = (struct in6_addr)IN6ADDR_LOOPBACK_INIT;
  int c = socket(AF_INET6, SOCK_STREAM, 0);
  ok(connect(c, (void*)&a, sizeof a) == 0, "IPv6: connect to ::1");
  int s = accept(l, (void*)&b, &n);
  ok(s >= 0 && IN6_IS_ADDR_LOOPBACK(&b.sin6_addr), "IPv6: accept");
  char t[8];
  ok(write(c, "six", 3) == 3 && read(s, t, 8) == 3, "IPv6: data");
  close(c), close(s);
  struct sockaddr_in v4 = local(ntohs(a.sin6_port));
  c = socket(AF_INET, SOCK_STREAM, 0);
  ok(connect(c, (void*)&v4, sizeof v4) == 0, "IPv4 reaches the same listener");
  s = accept(l, (void*)&b, &n);
  ok(s >= 0 && IN6_IS_ADDR_V4MAPPED(&b.sin6_addr), "and shows as mapped");
  close(c), close(s), close(l);
  // Both families on one port, as redis does.
  int l6 = socket(AF_INET6, SOCK_STREAM, 0), l4 = socket(AF_INET, SOCK_STREAM, 0);
  setsockopt(l6, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
  a.sin6_addr = (struct in6_addr)IN6ADDR_ANY_INIT, a.sin6_port = htons(7777);
  struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(7777)};
  ok(bind(l6, (void*)&a, sizeof a) == 0 && listen(l6, 4) == 0 &&
         bind(l4, (void*)&any, sizeof any) == 0 && listen(l4, 4) == 0,
     "V6ONLY leaves the port to IPv4");
  close(l4), close(l6);
}

int main(void) {
  setvbuf(stdout, 0, _IOLBF, 0);
  basic();
  refused();
  nonblocking();
  resets();
  pipes();
  half_closed();
  epolls();
  options();
  large();
  many();
  backlog();
  listeners();
  datagrams();
  ipv6();
  return finish_counted();
}
