// TCP between two sockets of the machine: what shows of it is what Linux shows. (Each case passes
// there too; gcc -o loopback tests/guest/loopback.c -lpthread.)
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
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tap.h"

enum { all = POLLIN | POLLOUT | POLLRDHUP };

static struct sockaddr_in at(const char* ip, int port) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
  inet_pton(AF_INET, ip, &a.sin_addr);
  return a;
}

static struct sockaddr_in name_of(int fd) {
  struct sockaddr_in a = {0};
  socklen_t n = sizeof a;
  getsockname(fd, (void*)&a, &n);
  return a;
}

static int port_of(int fd) {
  return ntohs(name_of(fd).sin_port);
}

static int bound(const char* ip, int port, int reuse) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  const struct sockaddr_in a = at(ip, port);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof reuse);
  if (bind(fd, (void*)&a, sizeof a) == 0)
    return fd;
  close(fd);
  return -1;
}

static int listener(const char* ip, int backlog) {
  const int fd = bound(ip, 0, 1);
  return listen(fd, backlog) ? -1 : fd;
}

static int connected(const char* ip, int port, int flags) {
  const int fd = socket(AF_INET, SOCK_STREAM | flags, 0);
  const struct sockaddr_in a = at(ip, port);
  if (connect(fd, (void*)&a, sizeof a) == 0 || (flags && errno == EINPROGRESS))
    return fd;
  const int e = errno;
  close(fd);
  errno = e;
  return -1;
}

static void pair(int p[2]) {
  const int l = listener("127.0.0.1", 8);
  p[0] = connected("127.0.0.1", port_of(l), 0);
  p[1] = accept(l, 0, 0);
  close(l);
}

static int events(int fd) {
  struct pollfd p = {fd, all, 0};
  return poll(&p, 1, 0) < 0 ? -1 : p.revents;
}

static int events_within(int fd, int wanted, int ms) {
  struct pollfd p = {fd, wanted, 0};
  return poll(&p, 1, ms) < 0 ? -1 : p.revents;
}

static int state(int fd) {
  struct tcp_info i = {0};
  socklen_t n = sizeof i;
  getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &n);
  return i.tcpi_state;
}

static int pending(int fd) {
  int e = -1;
  socklen_t n = sizeof e;
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &n);
  return e;
}

static void linger_none(int fd) {
  const struct linger l = {1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
}

static ssize_t get(int fd, void* to, size_t n) {
  return recv(fd, to, n, MSG_DONTWAIT);
}
static ssize_t put(int fd, const void* from, size_t n) {
  return send(fd, from, n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void names(void) {
  const int l = listener("0.0.0.0", 8);
  const int c = connected("127.0.0.7", port_of(l), 0);
  struct sockaddr_in peer, me;
  socklen_t n = sizeof peer;
  const int s = accept(l, (void*)&peer, &n);
  ok(c >= 0 && s >= 0, "127.0.0.7 is this machine");
  ok(peer.sin_addr.s_addr == htonl(INADDR_LOOPBACK) && ntohs(peer.sin_port) == port_of(c),
     "who calls it has 127.0.0.1");
  me = name_of(s);
  n = sizeof peer;
  ok(me.sin_addr.s_addr == htonl(0x7f000007) && getpeername(c, (void*)&peer, &n) == 0 &&
         peer.sin_addr.s_addr == me.sin_addr.s_addr && peer.sin_port == me.sin_port,
     "and who is called has the address that was called");
  close(c), close(s);
  const int only = listener("127.0.0.2", 8);
  ok(only >= 0 && connected("127.0.0.1", port_of(only), 0) == -1 && errno == ECONNREFUSED,
     "a listener on 127.0.0.2 does not hear 127.0.0.1");
  const int heard = connected("127.0.0.2", port_of(only), 0);
  ok(heard >= 0, "but 127.0.0.2");
  close(heard), close(only);

  // One address and port to one address and port: once.
  const int first = bound("127.0.0.1", 0, 1), port = port_of(first);
  const int second = bound("127.0.0.1", port, 1);
  const struct sockaddr_in a = at("127.0.0.1", port_of(l));
  ok(second >= 0 && connect(first, (void*)&a, sizeof a) == 0, "two sockets with one name");
  ok(connect(second, (void*)&a, sizeof a) == -1 && errno == EADDRNOTAVAIL,
     "cannot both connect to the same place");
  ok(bound("127.0.0.1", port, 0) == -1 && errno == EADDRINUSE, "the port is taken");
  close(first), close(second);
  const int accepted = accept(l, 0, 0), listens_at = port_of(l);
  close(l);
  ok(accepted >= 0 && bound("0.0.0.0", listens_at, 0) == -1 && errno == EADDRINUSE,
     "a connection keeps its listener's port");
  const int again = bound("0.0.0.0", listens_at, 1);
  ok(again >= 0 && listen(again, 1) == 0, "unless SO_REUSEADDR is set");
  close(accepted), close(again);
}

static void other_family(void) {
  const int l = socket(AF_INET6, SOCK_STREAM, 0);
  struct sockaddr_in6 any = {.sin6_family = AF_INET6}, peer;
  bind(l, (void*)&any, sizeof any), listen(l, 4);
  const int c = connected("127.0.0.1", port_of(l), 0);
  socklen_t n = sizeof peer;
  int s = accept(l, (void*)&peer, &n);
  ok(c >= 0 && IN6_IS_ADDR_V4MAPPED(&peer.sin6_addr), "an IPv6 listener is called over IPv4");
  close(c), close(s);
  struct sockaddr_in6 one = {.sin6_family = AF_INET6, .sin6_port = htons(port_of(l))};
  one.sin6_addr = (struct in6_addr)IN6ADDR_LOOPBACK_INIT;
  const int six = socket(AF_INET6, SOCK_STREAM, 0);
  ok(connect(six, (void*)&one, sizeof one) == 0 && (s = accept(l, (void*)&peer, &n)) >= 0 &&
         IN6_IS_ADDR_LOOPBACK(&peer.sin6_addr),
     "and over IPv6");
  close(six), close(s);
  inet_pton(AF_INET6, "::ffff:127.0.0.1", &one.sin6_addr);
  const int mapped = socket(AF_INET6, SOCK_STREAM, 0);
  char b[8];
  ok(connect(mapped, (void*)&one, sizeof one) == 0 && (s = accept(l, 0, 0)) >= 0 &&
         write(mapped, "x", 1) == 1 && read(s, b, 8) == 1,
     "and by a mapped address");
  close(mapped), close(s), close(l);
}

static void connecting(void) {
  const int l = listener("127.0.0.1", 1), port = port_of(l);
  const struct sockaddr_in a = at("127.0.0.1", port);
  int c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  ok(connect(c, (void*)&a, sizeof a) == -1 && errno == EINPROGRESS,
     "a nonblocking connect is in progress");
  ok(events(c) == POLLOUT && pending(c) == 0, "and done");
  ok(connect(c, (void*)&a, sizeof a) == 0 && connect(c, (void*)&a, sizeof a) == -1 &&
         errno == EISCONN,
     "connect says so once, then EISCONN");
  const int second = connected("127.0.0.1", port, SOCK_NONBLOCK);
  const int third = connected("127.0.0.1", port, SOCK_NONBLOCK);
  ok(events(second) == POLLOUT, "a backlog of one takes two");
  ok(events(third) == 0 && connect(third, (void*)&a, sizeof a) == -1 && errno == EALREADY,
     "the third waits");
  const int s = accept(l, 0, 0);
  ok(events_within(third, POLLOUT, 10000) == POLLOUT, "for accept()");
  const int s2 = accept(l, 0, 0), s3 = accept(l, 0, 0);
  char b[8];
  ok(write(third, "three", 5) == 5 && recv(s3, b, 8, 0) == 5, "and is connected then");
  close(s), close(s2), close(s3), close(c), close(second), close(third), close(l);

  c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  ok(connect(c, (void*)&a, sizeof a) == -1 && errno == EINPROGRESS &&
         events(c) == (all | POLLERR | POLLHUP),
     "nobody listens: an error, later");
  ok(connect(c, (void*)&a, sizeof a) == -1 && errno == ECONNREFUSED, "connect says which");
  ok(connect(c, (void*)&a, sizeof a) == -1 && errno == EINPROGRESS && pending(c) == ECONNREFUSED,
     "and can be tried again");
  close(c);
  ok(connected("127.0.0.1", port, 0) == -1 && errno == ECONNREFUSED, "ECONNREFUSED");
  ok(connected("127.0.0.9", port, 0) == -1 && errno == ECONNREFUSED, "all over 127.0.0.0/8");
}

// Beyond waiting for accept(): the other ways in which it ends. (Linux asks again after a second.)
static void waiting_for_room(void) {
  int l = listener("127.0.0.1", 0);
  const int port = port_of(l);
  const int first = connected("127.0.0.1", port, SOCK_NONBLOCK);
  int second = connected("127.0.0.1", port, SOCK_NONBLOCK);
  int third = connected("127.0.0.1", port, SOCK_NONBLOCK);
  ok(events(second) == 0 && events(third) == 0, "two wait");
  close(second);
  int s = accept(l, 0, 0);
  ok(events_within(third, POLLOUT, 10000) == POLLOUT, "one gives up, and the other gets in");
  close(s), close(third);
  s = accept(l, 0, 0);
  close(s);

  second = connected("127.0.0.1", port, SOCK_NONBLOCK);
  third = connected("127.0.0.1", port, SOCK_NONBLOCK);
  ok(events(second) == POLLOUT && events(third) == 0 && listen(l, 4) == 0 &&
         events_within(third, POLLOUT, 10000) == POLLOUT,
     "a larger backlog lets in who waits");
  close(second), close(third);
  for (int i = 0; i < 2; ++i)
    close(accept(l, 0, 0));

  listen(l, 0);
  second = connected("127.0.0.1", port, SOCK_NONBLOCK);
  third = connected("127.0.0.1", port, SOCK_NONBLOCK);
  ok(events(second) == POLLOUT && events(third) == 0, "full again");
  close(l);
  ok(events_within(third, POLLOUT, 10000) & POLLERR && pending(third) == ECONNREFUSED,
     "when the listener closes, who waits is refused");
  close(first), close(second), close(third);
}

static void* accept_later(void* l) {
  usleep(100000);
  return (void*)(long)accept(*(int*)l, 0, 0);
}

static void waiting_in_connect(void) {
  int l = listener("127.0.0.1", 0);
  const int first = connected("127.0.0.1", port_of(l), 0);
  pthread_t t;
  pthread_create(&t, 0, accept_later, &l);
  const int second = connected("127.0.0.1", port_of(l), 0);
  void* s;
  pthread_join(t, &s);
  ok(first >= 0 && second >= 0, "connect() waits for room in the backlog");
  close(first), close(second), close((int)(long)s), close(l);
}

static void unaccepted(void) {
  int l = listener("127.0.0.1", 8);
  char b[8];
  int c = connected("127.0.0.1", port_of(l), 0);
  ok(put(c, "hello", 5) == 5 && close(c) == 0, "written and closed before anybody accepts");
  int s = accept(l, 0, 0);
  ok(get(s, b, 8) == 5 && get(s, b, 8) == 0, "it is all there, and the end");
  close(s);
  c = connected("127.0.0.1", port_of(l), 0);
  put(c, "hello", 5), linger_none(c), close(c);
  ok(events(l) == POLLIN && (s = accept(l, 0, 0)) >= 0, "reset before anybody accepts");
  ok(events(s) == (all | POLLERR | POLLHUP) && state(s) == TCP_CLOSE, "that can be seen");
  ok(get(s, b, 8) == 5 && get(s, b, 8) == -1 && errno == ECONNRESET && get(s, b, 8) == 0,
     "behind what was written");
  close(s);
  c = connected("127.0.0.1", port_of(l), 0);
  close(l);
  ok(events_within(c, all, 1000) == (all | POLLERR | POLLHUP) && get(c, b, 8) == -1 &&
         errno == ECONNRESET,
     "closing the listener resets who waits in it");
  close(c);
}

static void ends(void) {
  int p[2];
  char b[8];
  pair(p);
  ok(state(p[0]) == TCP_ESTABLISHED && state(p[1]) == TCP_ESTABLISHED, "established");
  close(p[1]);
  ok(events(p[0]) == all && state(p[0]) == TCP_CLOSE_WAIT, "the other side has closed");
  ok(put(p[0], "a", 1) == 1 && events_within(p[0], 0, 1000) == (POLLERR | POLLHUP),
     "what is written then is answered by a reset");
  ok(get(p[0], b, 8) == 0, "behind the end of the stream there is no error to read");
  ok(put(p[0], "a", 1) == -1 && errno == EPIPE && pending(p[0]) == 0, "EPIPE");
  close(p[0]);

  pair(p);
  put(p[0], "abc", 3), put(p[1], "xy", 2);
  shutdown(p[1], SHUT_WR);
  close(p[1]); // with data unread
  ok(events_within(p[0], POLLHUP, 1000) == (POLLERR | POLLHUP), "a reset behind the end");
  ok(get(p[0], b, 8) == 2 && get(p[0], b, 8) == 0 && pending(p[0]) == EPIPE, "is EPIPE");
  close(p[0]);

  pair(p);
  put(p[0], "abc", 3), put(p[1], "xy", 2), close(p[1]);
  ok(get(p[0], b, 8) == 2 && get(p[0], b, 8) == -1 && errno == ECONNRESET,
     "a reset leaves what had come");
  close(p[0]);

  pair(p);
  shutdown(p[0], SHUT_WR);
  ok(put(p[0], "a", 1) == -1 && errno == EPIPE && put(p[1], "late", 4) == 4 && get(p[0], b, 8) == 4,
     "half closed");
  shutdown(p[1], SHUT_WR);
  usleep(100000);
  ok(state(p[0]) == TCP_CLOSE && state(p[1]) == TCP_CLOSE && events(p[0]) == (all | POLLHUP) &&
         events(p[1]) == (all | POLLHUP),
     "both ways");
  close(p[0]), close(p[1]);
}

static void self(void) {
  const int c = bound("127.0.0.1", 0, 0);
  const struct sockaddr_in me = name_of(c);
  char b[8];
  ok(connect(c, (void*)&me, sizeof me) == 0, "a socket connects to itself");
  ok(write(c, "selfie", 6) == 6 && recv(c, b, 8, 0) == 6 && !memcmp(b, "selfie", 6),
     "and hears itself");
  close(c);
}

static void bounds(void) {
  int p[2], sent = 0, queued = -1, unread = -1, small = 16384;
  static char block[65536];
  ssize_t n;
  const int l = bound("127.0.0.1", 0, 1);
  setsockopt(l, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), listen(l, 1);
  p[0] = socket(AF_INET, SOCK_STREAM, 0);
  setsockopt(p[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
  const struct sockaddr_in a = name_of(l);
  connect(p[0], (void*)&a, sizeof a);
  p[1] = accept(l, 0, 0);
  while ((n = put(p[0], block, 4096)) > 0)
    sent += n;
  ok(errno == EAGAIN && sent >= small && sent <= 8 * small, "SO_SNDBUF and SO_RCVBUF bound it");
  ok(ioctl(p[0], TIOCOUTQ, &queued) == 0 && ioctl(p[1], FIONREAD, &unread) == 0 && queued > 0 &&
         queued < sent && unread > 0 && unread <= sent,
     "SIOCOUTQ and FIONREAD");
  ok(events(p[0]) == 0 && events(p[1]) == (POLLIN | POLLOUT), "full");
  const struct timeval limit = {0, 50000};
  setsockopt(p[0], SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  ok(send(p[0], block, 100, 0) == -1 && errno == EAGAIN, "SO_SNDTIMEO");
  for (int got = 0; got < sent; got += n)
    if ((n = recv(p[1], block, sizeof block, 0)) <= 0)
      break;
  ok(events_within(p[0], POLLOUT, 1000) == POLLOUT, "empty");
  ok(ioctl(p[0], TIOCOUTQ, &queued) == 0 && queued == 0, "nothing is to be sent");

  // Who waits for more than there can be gets what there is.
  const int much = 1 << 20;
  setsockopt(p[1], SOL_SOCKET, SO_RCVLOWAT, &much, sizeof much);
  while ((n = put(p[0], block, 4096)) > 0)
    ;
  ok(events_within(p[1], POLLIN, 1000) == POLLIN, "SO_RCVLOWAT beyond the buffers");
  close(p[0]), close(p[1]), close(l);
}

static void many_octets(void) {
  int p[2];
  char b[3000];
  pair(p);
  int good = 1;
  for (int i = 0; i < 3000; ++i)
    good &= put(p[0], &(char){i % 251}, 1) == 1;
  ok(good && recv(p[1], b, 3000, MSG_PEEK | MSG_WAITALL) == 3000, "written one by one");
  ok(get(p[1], b, 7) == 7 && put(p[0], "end", 3) == 3 &&
         recv(p[1], b + 7, 2993, MSG_WAITALL) == 2993,
     "read in pieces");
  for (int i = 0; i < 3000; ++i)
    good &= b[i] == (char)(i % 251);
  ok(good && get(p[1], b, 8) == 3 && !memcmp(b, "end", 3), "in order");
  ok(send(p[0], b, 0, 0) == 0 && get(p[1], b, 8) == -1 && errno == EAGAIN, "nothing is nothing");
  ok(put(p[0], (void*)8, 4) == -1 && errno == EFAULT && put(p[0], "x", 1) == 1 &&
         recv(p[1], (void*)8, 4, 0) == -1 && errno == EFAULT && get(p[1], b, 8) == 1,
     "EFAULT loses nothing");
  close(p[0]), close(p[1]);
}

static int next_event(int e) {
  struct epoll_event out;
  return epoll_wait(e, &out, 1, 0) == 1 ? (int)out.events : 0;
}

static void edges(void) {
  int p[2], e = epoll_create1(0);
  static char block[65536];
  char b[8];
  pair(p);
  struct epoll_event v = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};
  epoll_ctl(e, EPOLL_CTL_ADD, p[0], &v);
  ok(next_event(e) == EPOLLOUT && next_event(e) == 0, "edge: writable, once");
  put(p[1], "a", 1);
  ok(next_event(e) == (EPOLLIN | EPOLLOUT) && next_event(e) == 0, "edge: data");
  put(p[1], "b", 1);
  ok(next_event(e) == (EPOLLIN | EPOLLOUT) && next_event(e) == 0, "edge: more data");
  ok(get(p[0], b, 8) == 2 && next_event(e) == 0, "edge: reading is no event");
  ok(put(p[0], b, 1) == 1 && get(p[1], b, 8) == 1 && next_event(e) == 0,
     "edge: nor is being read, with room all the time");
  while (put(p[0], block, sizeof block) > 0)
    ;
  ok(next_event(e) == 0, "edge: full");
  while (get(p[1], block, sizeof block) > 0)
    ;
  // On Linux the acknowledgements that make room come while the other side reads.
  ok(events_within(p[0], POLLOUT, 1000) == POLLOUT && next_event(e) == EPOLLOUT,
     "edge: room again");
  while (next_event(e))
    ;
  while (get(p[1], block, sizeof block) > 0)
    ;
  shutdown(p[1], SHUT_WR);
  ok(next_event(e) == (EPOLLIN | EPOLLOUT | EPOLLRDHUP) && next_event(e) == 0,
     "edge: the end of the stream");
  close(p[1]);
  put(p[0], "x", 1);
  const int hung_up = next_event(e);
  ok((hung_up & (EPOLLERR | EPOLLHUP)) == (EPOLLERR | EPOLLHUP) && next_event(e) == 0,
     "edge: a reset");
  close(p[0]), close(e);
}

static void* read_one(void* fd) {
  char b[8];
  return (void*)recv(*(int*)fd, b, sizeof b, 0);
}

static void wakes(void) {
  int p[2];
  pthread_t t;
  void* result;
  pair(p);
  pthread_create(&t, 0, read_one, &p[1]), usleep(50000);
  write(p[0], "go", 2), pthread_join(t, &result);
  ok((long)result == 2, "a reader is woken by data");
  pthread_create(&t, 0, read_one, &p[1]), usleep(50000);
  shutdown(p[0], SHUT_WR), pthread_join(t, &result);
  ok((long)result == 0, "by the end");
  close(p[0]), close(p[1]);
  pair(p);
  pthread_create(&t, 0, read_one, &p[1]), usleep(50000);
  linger_none(p[0]), close(p[0]), pthread_join(t, &result);
  ok((long)result == -1, "by a reset");
  close(p[1]);
  pair(p);
  pthread_create(&t, 0, read_one, &p[1]), usleep(50000);
  shutdown(p[1], SHUT_RD), pthread_join(t, &result);
  ok((long)result == 0, "by its own shutdown");
  close(p[0]), close(p[1]);
}

// Opened and closed: neither ports nor memory run out. (Linux needs its TIME_WAIT reused.)
static void again_and_again(void) {
  const int l = listener("127.0.0.1", 8), port = port_of(l);
  int good = 1;
  for (int i = 0; i < 2000; ++i) {
    const int c = connected("127.0.0.1", port, 0), s = accept(l, 0, 0);
    good &= c >= 0 && s >= 0 && write(c, "x", 1) == 1;
    if (i % 2)
      close(s), close(c);
    else
      close(c), close(s);
  }
  ok(good, "2000 connections, one after the other");
  close(l);
}

int main(void) {
  signal(SIGPIPE, SIG_IGN);
  names();
  other_family();
  connecting();
  waiting_for_room();
  waiting_in_connect();
  unaccepted();
  ends();
  self();
  bounds();
  many_octets();
  edges();
  wakes();
  again_and_again();
  return finish_counted();
}
