// Socket options, message flags and control messages over the loopback: what Linux does.
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
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "tap.h"

static struct sockaddr_in local(int port) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return a;
}

static int port_of(int fd) {
  struct sockaddr_in6 a;
  socklen_t n = sizeof a;
  return getsockname(fd, (void*)&a, &n) == 0 ? ntohs(a.sin6_port) : -1;
}

static int set(int fd, int level, int name, int value) {
  return setsockopt(fd, level, name, &value, sizeof value);
}

static int get(int fd, int level, int name) {
  int value = -1;
  socklen_t n = sizeof value;
  return getsockopt(fd, level, name, &value, &n) == 0 ? value : -1;
}

static int events_within(int fd, int wanted, int ms) {
  struct pollfd p = {fd, wanted, 0};
  return poll(&p, 1, ms) < 0 ? -1 : p.revents;
}

static int pair(int out[2]) {
  int l = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in a = local(0);
  bind(l, (void*)&a, sizeof a), listen(l, 8);
  a = local(port_of(l));
  out[0] = socket(AF_INET, SOCK_STREAM, 0);
  int r = connect(out[0], (void*)&a, sizeof a);
  out[1] = accept(l, 0, 0);
  close(l);
  return r;
}

static long long milliseconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000ll + t.tv_nsec / 1000000;
}

// --- SO_REUSEPORT

static int reuse_port_socket(int type, int port) {
  int fd = socket(AF_INET, type | SOCK_NONBLOCK, 0);
  struct sockaddr_in a = local(port);
  set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
  if (bind(fd, (void*)&a, sizeof a) || (type == SOCK_STREAM && listen(fd, 256)))
    return -1;
  return fd;
}

static void shared_listeners(void) {
  enum { listeners = 4, connections = 200 };
  int l[listeners], got[listeners] = {0}, total = 0, smallest = connections;
  static int c[connections];
  l[0] = reuse_port_socket(SOCK_STREAM, 0);
  int port = port_of(l[0]), good = l[0] >= 0;
  for (int i = 1; i < listeners; ++i)
    good &= (l[i] = reuse_port_socket(SOCK_STREAM, port)) >= 0;
  ok(good, "SO_REUSEPORT: four listeners on one port");
  int other = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in a = local(port);
  ok(bind(other, (void*)&a, sizeof a) == -1 && errno == EADDRINUSE, "one without it is kept out");
  set(other, SOL_SOCKET, SO_REUSEADDR, 1);
  ok(bind(other, (void*)&a, sizeof a) == -1 && errno == EADDRINUSE,
     "also with SO_REUSEADDR instead");
  close(other);
  for (int i = 0; i < connections; ++i) {
    c[i] = socket(AF_INET, SOCK_STREAM, 0);
    good &= connect(c[i], (void*)&a, sizeof a) == 0;
  }
  ok(good, "200 connections");
  for (int i = 0; i < listeners; ++i) {
    for (int s; (s = accept(l[i], 0, 0)) >= 0; close(s))
      ++got[i];
    total += got[i];
    smallest = got[i] < smallest ? got[i] : smallest;
  }
  ok(total == connections, "each is accepted by one of them");
  ok(smallest >= connections / listeners / 3, "and every one has its share");
  for (int i = 0; i < connections; ++i)
    close(c[i]);
  for (int i = 1; i < listeners; ++i)
    close(l[i]);
  c[0] = socket(AF_INET, SOCK_STREAM, 0);
  ok(connect(c[0], (void*)&a, sizeof a) == 0 && accept(l[0], 0, 0) >= 0,
     "the last one gets what comes when the others have closed");
  close(c[0]), close(l[0]);
}

static void shared_datagrams(void) {
  enum { receivers = 4, senders = 120 };
  int r[receivers], got[receivers] = {0}, total = 0, smallest = senders, same = 1;
  static int s[senders];
  r[0] = reuse_port_socket(SOCK_DGRAM, 0);
  struct sockaddr_in a = local(port_of(r[0]));
  for (int i = 1; i < receivers; ++i)
    r[i] = reuse_port_socket(SOCK_DGRAM, port_of(r[0]));
  ok(r[3] >= 0, "SO_REUSEPORT: four UDP sockets on one port");
  for (int i = 0; i < senders; ++i) {
    s[i] = socket(AF_INET, SOCK_DGRAM, 0);
    connect(s[i], (void*)&a, sizeof a);
    send(s[i], &i, sizeof i, 0), send(s[i], &i, sizeof i, 0);
  }
  for (int i = 0; i < receivers; ++i) {
    int first, second;
    while (recv(r[i], &first, sizeof first, 0) == sizeof first) {
      same &= recv(r[i], &second, sizeof second, 0) == sizeof second && first == second;
      ++got[i];
    }
    total += got[i];
    smallest = got[i] < smallest ? got[i] : smallest;
    close(r[i]);
  }
  ok(total == senders && same, "a sender's datagrams stay with one of them");
  ok(smallest >= senders / receivers / 3, "and every one has its share");
  for (int i = 0; i < senders; ++i)
    close(s[i]);
}

// --- streams

static void* write_later(void* arg) {
  usleep(50000);
  write(*(int*)arg, "1234567", 7);
  return 0;
}

static void low_water(void) {
  int p[2];
  char b[64];
  pair(p);
  ok(get(p[1], SOL_SOCKET, SO_RCVLOWAT) == 1 && set(p[1], SOL_SOCKET, SO_RCVLOWAT, 5) == 0 &&
         get(p[1], SOL_SOCKET, SO_RCVLOWAT) == 5,
     "SO_RCVLOWAT");
  set(p[0], IPPROTO_TCP, TCP_NODELAY, 1);
  write(p[0], "abc", 3);
  ok(events_within(p[1], POLLIN, 50) == 0, "three bytes do not wake poll");
  ok(recv(p[1], b, 2, MSG_PEEK) == 2, "but can be read by who wants no more");
  pthread_t t;
  pthread_create(&t, 0, write_later, &p[0]);
  ok(recv(p[1], b, 64, 0) == 10, "a read waits for five");
  pthread_join(t, 0);
  write(p[0], "abcde", 5);
  ok(events_within(p[1], POLLIN, 1000) == POLLIN, "five bytes wake poll");
  ok(recv(p[1], b, 64, MSG_DONTWAIT) == 5, "and are there");
  write(p[0], "ab", 2);
  shutdown(p[0], SHUT_WR);
  ok(events_within(p[1], POLLIN, 1000) == POLLIN && recv(p[1], b, 64, 0) == 2,
     "so does the end of the stream");
  close(p[0]), close(p[1]);
}

static void flags(void) {
  int p[2];
  char b[64] = "unchanged";
  pair(p);
  set(p[0], IPPROTO_TCP, TCP_NODELAY, 1);
  write(p[0], "0123456789", 10);
  events_within(p[1], POLLIN, 1000);
  ok(recv(p[1], b, 4, MSG_TRUNC) == 4 && !strcmp(b, "unchanged") && recv(p[1], b, 6, 0) == 6 &&
         !memcmp(b, "456789", 6),
     "MSG_TRUNC on a stream throws away");
  pthread_t t;
  write(p[0], "abc", 3);
  pthread_create(&t, 0, write_later, &p[0]);
  ok(recv(p[1], b, 10, MSG_WAITALL) == 10 && !memcmp(b, "abc1234567", 10), "MSG_WAITALL");
  pthread_join(t, 0);
  struct timeval limit = {0, 30000};
  setsockopt(p[1], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  write(p[0], "xy", 2);
  events_within(p[1], POLLIN, 1000);
  ok(recv(p[1], b, 10, MSG_WAITALL) == 2, "MSG_WAITALL ends with SO_RCVTIMEO");
  send(p[0], "held", 4, MSG_MORE);
  ok(events_within(p[1], POLLIN, 3000) == POLLIN && recv(p[1], b, 10, 0) == 4,
     "MSG_MORE holds data back for a while only");
  set(p[0], IPPROTO_TCP, TCP_CORK, 1);
  write(p[0], "a", 1), write(p[0], "b", 1), write(p[0], "c", 1);
  set(p[0], IPPROTO_TCP, TCP_CORK, 0);
  ok(recv(p[1], b, 3, MSG_WAITALL) == 3, "TCP_CORK and out");
  limit.tv_usec = 100000;
  setsockopt(p[0], SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  static char block[1 << 16];
  ssize_t n;
  while ((n = send(p[0], block, sizeof block, 0)) == sizeof block)
    ;
  ok((n == -1 && errno == EAGAIN) || n < (ssize_t)sizeof block, "SO_SNDTIMEO ends a send");
  close(p[0]), close(p[1]);
}

static void stream_options(void) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  ok(set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 2500) == 0 &&
         get(fd, IPPROTO_TCP, TCP_USER_TIMEOUT) == 2500,
     "TCP_USER_TIMEOUT");
  ok(set(fd, IPPROTO_TCP, TCP_KEEPINTVL, 7) == 0 && get(fd, IPPROTO_TCP, TCP_KEEPINTVL) == 7,
     "TCP_KEEPINTVL");
  ok(set(fd, IPPROTO_TCP, TCP_KEEPCNT, 3) == 0 && get(fd, IPPROTO_TCP, TCP_KEEPCNT) == 3 &&
         set(fd, IPPROTO_TCP, TCP_KEEPCNT, 128) == -1 && errno == EINVAL,
     "TCP_KEEPCNT, at most 127");
  ok(set(fd, IPPROTO_IP, IP_TOS, 0x10) == 0 && get(fd, IPPROTO_IP, IP_TOS) == 0x10, "IP_TOS");
  ok(set(fd, IPPROTO_IP, IP_TTL, 300) == -1 && errno == EINVAL, "IP_TTL of 300 is invalid");
  ok(set(fd, IPPROTO_TCP, TCP_CORK, 1) == 0 && get(fd, IPPROTO_TCP, TCP_CORK) == 1, "TCP_CORK");
  ok(get(fd, IPPROTO_TCP, TCP_QUICKACK) == 1, "TCP_QUICKACK");
  ok(get(fd, SOL_SOCKET, SO_ERROR) == 0 && get(fd, SOL_SOCKET, SO_ACCEPTCONN) == 0,
     "SO_ERROR, SO_ACCEPTCONN");
  ok(set(fd, SOL_SOCKET, SO_ERROR, 1) == -1 && errno == ENOPROTOOPT, "SO_ERROR cannot be set");
  ok(set(fd, SOL_SOCKET, SO_PRIORITY, 4) == 0 && get(fd, SOL_SOCKET, SO_PRIORITY) == 4,
     "SO_PRIORITY");
  close(fd);
  int p[2];
  pair(p);
  struct tcp_info info;
  socklen_t n = sizeof info;
  memset(&info, 0, sizeof info);
  ok(getsockopt(p[0], IPPROTO_TCP, TCP_INFO, &info, &n) == 0 &&
         info.tcpi_state == TCP_ESTABLISHED && info.tcpi_snd_mss >= 536,
     "TCP_INFO of a connection");
  n = 4;
  ok(getsockopt(p[0], IPPROTO_TCP, TCP_INFO, &info, &n) == 0 && n == 4, "or its beginning");
  // A lingering close waits for the reader.
  struct linger linger = {1, 10};
  setsockopt(p[0], SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
  write(p[0], "last words", 10);
  long long before = milliseconds();
  close(p[0]);
  char b[16];
  ok(milliseconds() - before < 9000 && read(p[1], b, 16) == 10 && read(p[1], b, 16) == 0,
     "SO_LINGER: close returns when all is acknowledged");
  close(p[1]);
}

// --- datagrams

static ssize_t receive(int fd, void* control, size_t room, struct msghdr* m) {
  static char data[64];
  static struct iovec v;
  v = (struct iovec){data, sizeof data};
  *m = (struct msghdr){.msg_iov = &v, .msg_iovlen = 1, .msg_control = control};
  m->msg_controllen = room;
  return recvmsg(fd, m, 0);
}

static void* find(struct msghdr* m, int level, int type) {
  for (struct cmsghdr* c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c))
    if (c->cmsg_level == level && c->cmsg_type == type)
      return CMSG_DATA(c);
  return 0;
}

static void datagram_control(void) {
  int r = socket(AF_INET, SOCK_DGRAM, 0), s = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in a = {.sin_family = AF_INET};
  bind(r, (void*)&a, sizeof a);
  a = local(port_of(r));
  union {
    struct cmsghdr align;
    char bytes[256];
  } control;
  struct msghdr m;
  sendto(s, "x", 1, 0, (void*)&a, sizeof a);
  ok(receive(r, &control, sizeof control, &m) == 1 && m.msg_controllen == 0,
     "no control message unless asked for");
  ok(set(r, IPPROTO_IP, IP_PKTINFO, 1) == 0 && set(r, IPPROTO_IP, IP_RECVTTL, 1) == 0 &&
         set(r, IPPROTO_IP, IP_RECVTOS, 1) == 0 && set(r, SOL_SOCKET, SO_TIMESTAMP, 1) == 0,
     "IP_PKTINFO, IP_RECVTTL, IP_RECVTOS, SO_TIMESTAMP");
  set(s, IPPROTO_IP, IP_TTL, 33), set(s, IPPROTO_IP, IP_TOS, 0x20);
  sendto(s, "x", 1, 0, (void*)&a, sizeof a);
  ok(receive(r, &control, sizeof control, &m) == 1, "a datagram");
  struct in_pktinfo* info = find(&m, IPPROTO_IP, IP_PKTINFO);
  ok(info && info->ipi_addr.s_addr == htonl(INADDR_LOOPBACK) && info->ipi_ifindex == 1,
     "its address and interface");
  int* ttl = find(&m, IPPROTO_IP, IP_TTL);
  unsigned char* tos = find(&m, IPPROTO_IP, IP_TOS);
  ok(ttl && *ttl == 33, "its time to live");
  ok(tos && *tos == 0x20, "its type of service");
  struct timeval* t = find(&m, SOL_SOCKET, SCM_TIMESTAMP);
  ok(t && llabs(t->tv_sec - time(0)) <= 1, "its time");
  sendto(s, "x", 1, 0, (void*)&a, sizeof a);
  ok(receive(r, &control, 20, &m) == 1 && (m.msg_flags & MSG_CTRUNC), "too little room");

  // The answer comes from the address that was asked.
  union {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(struct in_pktinfo))];
  } out;
  memset(&out, 0, sizeof out);
  struct iovec v = {"y", 1};
  struct sockaddr_in to = local(0), from;
  bind(s, (void*)&to, sizeof to);
  to = local(port_of(s));
  struct msghdr n = {.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &v, .msg_iovlen = 1};
  n.msg_control = &out, n.msg_controllen = sizeof out;
  out.align.cmsg_level = IPPROTO_IP, out.align.cmsg_type = IP_PKTINFO;
  out.align.cmsg_len = CMSG_LEN(sizeof(struct in_pktinfo));
  struct in_pktinfo source = {0};
  source.ipi_spec_dst.s_addr = htonl(INADDR_LOOPBACK);
  memcpy(CMSG_DATA(&out.align), &source, sizeof source);
  socklen_t k = sizeof from;
  char b[8];
  ok(sendmsg(r, &n, 0) == 1 && recvfrom(s, b, 8, 0, (void*)&from, &k) == 1 &&
         from.sin_addr.s_addr == htonl(INADDR_LOOPBACK),
     "IP_PKTINFO chooses the source");
  source.ipi_spec_dst.s_addr = htonl(0x01020304);
  memcpy(CMSG_DATA(&out.align), &source, sizeof source);
  ok(sendmsg(r, &n, 0) == -1, "but not one that is not ours");
  close(r), close(s);

  int six = socket(AF_INET6, SOCK_DGRAM, 0), from6 = socket(AF_INET6, SOCK_DGRAM, 0);
  struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT};
  bind(six, (void*)&a6, sizeof a6);
  a6.sin6_addr = (struct in6_addr)IN6ADDR_LOOPBACK_INIT, a6.sin6_port = htons(port_of(six));
  set(six, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1), set(six, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1);
  sendto(from6, "z", 1, 0, (void*)&a6, sizeof a6);
  ok(receive(six, &control, sizeof control, &m) == 1, "IPv6: a datagram");
  struct in6_pktinfo* info6 = find(&m, IPPROTO_IPV6, IPV6_PKTINFO);
  ok(info6 && IN6_IS_ADDR_LOOPBACK(&info6->ipi6_addr) && info6->ipi6_ifindex == 1,
     "IPV6_RECVPKTINFO");
  int* hops = find(&m, IPPROTO_IPV6, IPV6_HOPLIMIT);
  ok(hops && *hops == 64, "IPV6_RECVHOPLIMIT");
  close(six), close(from6);
}

static void unreachable(void) {
  int s = socket(AF_INET, SOCK_DGRAM, 0), r = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in a = local(0);
  bind(r, (void*)&a, sizeof a);
  a = local(port_of(r));
  close(r);
  connect(s, (void*)&a, sizeof a);
  ok(send(s, "x", 1, 0) == 1, "UDP: a datagram to nobody");
  ok(events_within(s, POLLIN, 1000) & POLLERR, "the answer is an error");
  char b[8];
  ok(recv(s, b, 8, 0) == -1 && errno == ECONNREFUSED, "ECONNREFUSED");
  ok(recv(s, b, 8, MSG_DONTWAIT) == -1 && errno == EAGAIN, "once");
  send(s, "x", 1, 0);
  events_within(s, POLLIN, 1000);
  ok(get(s, SOL_SOCKET, SO_ERROR) == ECONNREFUSED && get(s, SOL_SOCKET, SO_ERROR) == 0,
     "or by SO_ERROR");
  send(s, "x", 1, 0);
  events_within(s, POLLIN, 1000);
  ok(send(s, "x", 1, 0) == -1 && errno == ECONNREFUSED, "or by the next send");
  events_within(s, POLLIN, 1000);
  int un = socket(AF_INET, SOCK_DGRAM, 0);
  ok(sendto(un, "x", 1, 0, (void*)&a, sizeof a) == 1 && events_within(un, POLLIN, 50) == 0,
     "not on a socket that is not connected");
  struct sockaddr unspecified = {.sa_family = AF_UNSPEC};
  ok(connect(s, &unspecified, sizeof unspecified) == 0 && send(s, "x", 1, 0) == -1,
     "AF_UNSPEC disconnects");
  close(s), close(un);
  s = socket(AF_INET6, SOCK_DGRAM, 0);
  struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  a6.sin6_port = a.sin_port;
  connect(s, (void*)&a6, sizeof a6);
  send(s, "x", 1, 0);
  ok(events_within(s, POLLIN, 1000) & POLLERR && recv(s, b, 8, 0) == -1 && errno == ECONNREFUSED,
     "IPv6 too");
  close(s);
}

static void dissolved(void) {
  const struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t n = sizeof a;
  char b[8];
  int l = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0);
  bind(l, (void*)&a, sizeof a), listen(l, 5), getsockname(l, (void*)&a, &n);
  ok(connect(c, &nowhere, sizeof nowhere) == 0, "TCP: nothing to dissolve");
  connect(c, (void*)&a, sizeof a);
  int s = accept(l, 0, 0);
  send(s, "unread", 6, 0);
  ok(connect(c, &nowhere, sizeof nowhere) == 0 && getpeername(c, (void*)&a, &n) == -1 &&
         errno == ENOTCONN,
     "AF_UNSPEC dissolves the connection");
  ok(recv(s, b, 8, 0) == -1 && errno == ECONNRESET, "by a reset");
  close(s);
  ok(connect(c, (void*)&a, sizeof a) == 0 && (s = accept(l, 0, 0)) >= 0 &&
         send(c, "new", 3, 0) == 3 && recv(s, b, 8, 0) == 3 && send(s, "too", 3, 0) == 3 &&
         recv(c, b, 8, 0) == 3,
     "the socket connects again");
  ok(connect(l, &nowhere, sizeof nowhere) == 0 &&
         connect(socket(AF_INET, SOCK_STREAM, 0), (void*)&a, sizeof a) == -1 &&
         errno == ECONNREFUSED && accept(l, 0, 0) == -1 && errno == EINVAL,
     "a listener listens no longer");
  close(l), close(c), close(s);
}

static void several_messages(void) {
  int p[2];
  socketpair(AF_UNIX, SOCK_DGRAM, 0, p);
  char data[4][8] = {"a", "bb", "ccc", "dddd"}, in[4][8];
  struct iovec out_v[4], in_v[4];
  struct mmsghdr out[4] = {0}, got[4] = {0};
  for (int i = 0; i < 4; ++i) {
    out_v[i] = (struct iovec){data[i], i + 1}, in_v[i] = (struct iovec){in[i], 8};
    out[i].msg_hdr.msg_iov = &out_v[i], out[i].msg_hdr.msg_iovlen = 1;
    got[i].msg_hdr.msg_iov = &in_v[i], got[i].msg_hdr.msg_iovlen = 1;
  }
  ok(sendmmsg(p[0], out, 4, 0) == 4 && out[3].msg_len == 4, "sendmmsg");
  ok(recvmmsg(p[1], got, 3, 0, 0) == 3 && got[2].msg_len == 3, "recvmmsg");
  ok(recvmmsg(p[1], got, 4, MSG_WAITFORONE, 0) == 1 && got[0].msg_len == 4,
     "MSG_WAITFORONE takes what is there");
  ok(recvmmsg(p[1], got, 4, MSG_DONTWAIT, 0) == -1 && errno == EAGAIN, "nothing: EAGAIN");

  struct timespec wrong[] = {{0, -1}, {0, 1000000000}, {-1, 0}};
  sendmmsg(p[0], out, 4, 0);
  for (int i = 0; i < 3; ++i)
    ok(recvmmsg(p[1], got, 4, 0, &wrong[i]) == -1 && errno == EINVAL, "an invalid timeout: EINVAL");
  ok(recvmmsg(-1, got, 4, 0, &wrong[0]) == -1 && errno == EINVAL, "before the descriptor is seen");
  struct timespec none = {0, 0}, endless = {INT64_MAX, 999999999}, minute = {60, 0};
  ok(recvmmsg(p[1], got, 4, 0, &none) == 1 && got[0].msg_len == 1,
     "a timeout of zero is over behind the first message");
  ok(recvmmsg(p[1], got, 2, 0, &endless) == 2 && got[1].msg_len == 3 && endless.tv_sec > 1000000,
     "one of 2^63 seconds does not wrap into the past");
  ok(recvmmsg(p[1], got, 4, MSG_DONTWAIT, &minute) == 1 && got[0].msg_len == 4 &&
         minute.tv_sec == 59 && minute.tv_nsec > 0,
     "what is left of it is told");
  close(p[0]), close(p[1]);
}

static int reads(const char* path, const char* text) {
  char b[64] = "";
  int fd = open(path, O_RDONLY);
  read(fd, b, sizeof b - 1);
  close(fd);
  return !strcmp(b, text);
}

/* What the stack says of itself is what it does. */
static void policy(void) {
  char name[32] = "";
  socklen_t n = sizeof name;
  int s = socket(AF_INET, SOCK_STREAM, 0);
  ok(getsockopt(s, IPPROTO_TCP, TCP_CONGESTION, name, &n) == 0 && n == 16 && !strcmp(name, "cubic"),
     "the congestion control's name");
  ok(setsockopt(s, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5) == 0 &&
         setsockopt(s, IPPROTO_TCP, TCP_CONGESTION, "cubic\0x", 7) == 0,
     "can be set to the same");
  ok(setsockopt(s, IPPROTO_TCP, TCP_CONGESTION, "bbr", 3) == -1 && errno == ENOENT &&
         setsockopt(s, IPPROTO_TCP, TCP_CONGESTION, "cubic2", 6) == -1 && errno == ENOENT &&
         setsockopt(s, IPPROTO_TCP, TCP_CONGESTION, "cubi", 4) == -1 && errno == ENOENT,
     "to no other");
  ok(setsockopt(s, IPPROTO_TCP, TCP_CONGESTION, "", 0) == -1 && errno == EINVAL, "nor to nothing");
  close(s);
  ok(reads("/proc/sys/net/ipv4/tcp_congestion_control", "cubic\n") &&
         reads("/proc/sys/net/ipv4/tcp_available_congestion_control", "cubic\n"),
     "/proc says the same");

  int first = 0, last = 0, good = 1;
  FILE* f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "r");
  ok(f && fscanf(f, "%d\t%d", &first, &last) == 2 && first > 1024 && last < 65536 && first < last,
     "ip_local_port_range");
  if (f)
    fclose(f);
  int below = 0;
  for (int i = 0; i < 64; ++i) {
    s = socket(AF_INET, i & 1 ? SOCK_STREAM : SOCK_DGRAM, 0);
    struct sockaddr_in a = local(0);
    n = sizeof a;
    bind(s, (void*)&a, sizeof a), getsockname(s, (void*)&a, &n);
    good &= ntohs(a.sin_port) >= first && ntohs(a.sin_port) <= last;
    below |= ntohs(a.sin_port) < 49152;
    close(s);
  }
  ok(good && below, "holds the ports that are chosen");
}

int main(void) {
  setvbuf(stdout, 0, _IOLBF, 0);
  signal(SIGPIPE, SIG_IGN);
  shared_listeners();
  shared_datagrams();
  low_water();
  flags();
  stream_options();
  datagram_control();
  unreachable();
  dissolved();
  several_messages();
  policy();
  return finish_counted();
}
