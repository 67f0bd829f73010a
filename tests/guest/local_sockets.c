// Local sockets: kinds, names, descriptors and credentials passed along, as unix(7) has it.
// limit: 60
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tap.h"

static struct sockaddr_un path(const char* p) {
  struct sockaddr_un a = {.sun_family = AF_UNIX};
  strcpy(a.sun_path, p);
  return a;
}

static int events(int fd, int wanted) {
  struct pollfd p = {fd, wanted, 0};
  return poll(&p, 1, 0) < 0 ? -1 : p.revents;
}

// Sends `text` with descriptors.
static ssize_t send_fds(int s, const char* text, const int* fds, int count, int flags) {
  union {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int) * 300)];
  } control;
  memset(&control, 0, sizeof control);
  struct iovec v = {(void*)text, strlen(text)};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &control};
  m.msg_controllen = CMSG_SPACE(sizeof(int) * count);
  struct cmsghdr* c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof(int) * count);
  memcpy(CMSG_DATA(c), fds, sizeof(int) * count);
  return sendmsg(s, &m, flags);
}

// Receives up to `most` descriptors; returns their number, -1 on failure.
static int receive_fds(int s, char* text, size_t room, int* fds, int most, int flags, int* out) {
  union {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int) * 300)];
  } control;
  memset(&control, 0, sizeof control);
  struct iovec v = {text, room};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &control};
  m.msg_controllen = most ? CMSG_LEN(sizeof(int) * most) : 0;
  ssize_t n = recvmsg(s, &m, flags);
  if (n < 0)
    return -1;
  if (room)
    text[n < (ssize_t)room ? n : (ssize_t)room - 1] = 0;
  if (out)
    *out = m.msg_flags;
  struct cmsghdr* c = CMSG_FIRSTHDR(&m);
  if (!c || c->cmsg_type != SCM_RIGHTS)
    return 0;
  int count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
  memcpy(fds, CMSG_DATA(c), sizeof(int) * count);
  return count;
}

static void kinds(void) {
  int p[2];
  char b[64];
  ok(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, p) == 0 && write(p[0], "ab", 2) == 2 &&
         write(p[0], "cde", 3) == 3 && read(p[1], b, 64) == 2 && read(p[1], b, 64) == 3,
     "SOCK_SEQPACKET keeps boundaries");
  struct iovec v = {b, 2};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
  write(p[0], "12345", 5);
  ok(recvmsg(p[1], &m, 0) == 2 && (m.msg_flags & MSG_TRUNC), "MSG_TRUNC is reported");
  write(p[0], "12345", 5);
  ok(recv(p[1], b, 2, MSG_TRUNC | MSG_PEEK) == 5 && recv(p[1], b, 64, 0) == 5,
     "MSG_TRUNC asks for the whole length, MSG_PEEK leaves it there");
  close(p[0]);
  ok(read(p[1], b, 64) == 0, "the end of a SOCK_SEQPACKET");
  close(p[1]);
  ok(socketpair(AF_UNIX, SOCK_STREAM, 0, p) == 0 && send(p[0], "", 0, 0) == 0 &&
         recv(p[1], b, 64, MSG_DONTWAIT) == -1 && errno == EAGAIN,
     "nothing sent on a stream is nothing, not its end");
  ok(shutdown(p[0], SHUT_WR) == 0 && read(p[1], b, 64) == 0 && write(p[1], "x", 1) == 1 &&
         read(p[0], b, 64) == 1,
     "a half-closed stream");
  close(p[0]), close(p[1]);
  int type = 0;
  socklen_t n = sizeof type;
  int s = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  getsockopt(s, SOL_SOCKET, SO_TYPE, &type, &n);
  ok(type == SOCK_SEQPACKET && fcntl(s, F_GETFD) == FD_CLOEXEC, "SO_TYPE, SOCK_CLOEXEC");
  ok(connect(s, (void*)&(struct sockaddr_un){AF_UNIX, "/tmp/none"}, 20) == -1 && errno == ENOENT,
     "connect to nothing: ENOENT");
  close(s);
}

static void names(void) {
  struct sockaddr_un a = path("/tmp/a.sock"), b;
  struct stat st;
  int l = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0);
  ok(bind(l, (void*)&a, sizeof a) == 0 && stat("/tmp/a.sock", &st) == 0 && S_ISSOCK(st.st_mode),
     "bind makes a socket in the file system");
  ok(connect(c, (void*)&a, sizeof a) == -1 && errno == ECONNREFUSED,
     "nobody listens: ECONNREFUSED");
  listen(l, 4);
  ok(symlink("/tmp/a.sock", "/tmp/b.sock") == 0, "a link to it");
  b = path("/tmp/b.sock");
  ok(connect(c, (void*)&b, sizeof b) == 0, "connect through it");
  int s = accept(l, 0, 0);
  socklen_t n = sizeof b;
  ok(getpeername(c, (void*)&b, &n) == 0 && !strcmp(b.sun_path, "/tmp/a.sock") &&
         n == offsetof(struct sockaddr_un, sun_path) + 12,
     "getpeername has the name it was bound to");
  close(c);
  int other = socket(AF_UNIX, SOCK_STREAM, 0);
  ok(bind(other, (void*)&a, sizeof a) == -1 && errno == EADDRINUSE, "the name is taken");
  ok(rename("/tmp/a.sock", "/tmp/c.sock") == 0, "renamed");
  b = path("/tmp/c.sock");
  c = socket(AF_UNIX, SOCK_STREAM, 0);
  ok(connect(c, (void*)&b, sizeof b) == 0, "the socket is where its node is");
  close(c), close(s), close(l);
  c = socket(AF_UNIX, SOCK_STREAM, 0);
  ok(connect(c, (void*)&b, sizeof b) == -1 && errno == ECONNREFUSED,
     "after close the node is left: ECONNREFUSED");
  ok(bind(other, (void*)&b, sizeof b) == -1 && errno == EADDRINUSE, "and still taken");
  ok(unlink("/tmp/c.sock") == 0 && bind(other, (void*)&b, sizeof b) == 0, "until it is unlinked");
  ok(unlink("/tmp/c.sock") == 0 && listen(other, 1) == 0 && connect(c, (void*)&b, sizeof b) == -1 &&
         errno == ENOENT,
     "an unlinked name is gone at once: ENOENT");
  ok(open("/tmp/c.sock", O_RDONLY) == -1, "a socket cannot be opened");
  struct sockaddr_un plain = path("/tmp/plain");
  close(open("/tmp/plain", O_CREAT | O_WRONLY, 0644));
  ok(connect(c, (void*)&plain, sizeof plain) == -1 && errno == ECONNREFUSED,
     "a plain file is no socket");
  struct sockaddr_un nowhere = path("/tmp/no/such/x");
  int third = socket(AF_UNIX, SOCK_DGRAM, 0);
  ok(bind(third, (void*)&nowhere, sizeof nowhere) == -1 && errno == ENOENT,
     "bind in a directory that is not there");
  ok(bind(third, (void*)&plain, sizeof plain) == -1 && errno == EADDRINUSE,
     "bind on a file that is there");
  chdir("/tmp");
  struct sockaddr_un relative = path("rel.sock"), absolute = path("/tmp/rel.sock");
  int fourth = socket(AF_UNIX, SOCK_DGRAM, 0);
  ok(bind(third, (void*)&relative, sizeof relative) == 0 &&
         sendto(fourth, "x", 1, 0, (void*)&absolute, sizeof absolute) == 1 &&
         recv(third, &n, 1, MSG_DONTWAIT) == 1,
     "a relative name");
  close(other), close(c), close(third), close(fourth);
}

static void abstract_names(void) {
  struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "\0hidden"}, b;
  socklen_t n = offsetof(struct sockaddr_un, sun_path) + 7, m = sizeof b;
  int x = socket(AF_UNIX, SOCK_DGRAM, 0), y = socket(AF_UNIX, SOCK_DGRAM, 0);
  ok(bind(x, (void*)&a, n) == 0 && bind(y, (void*)&a, n) == -1 && errno == EADDRINUSE,
     "an abstract name is taken once");
  ok(access("hidden", F_OK) == -1, "and not in the file system");
  ok(getsockname(x, (void*)&b, &m) == 0 && m == n && !memcmp(&a, &b, n), "getsockname");
  ok(bind(y, (void*)&(struct sockaddr_un){AF_UNIX}, sizeof(sa_family_t)) == 0 &&
         (m = sizeof b, getsockname(y, (void*)&b, &m) == 0) && b.sun_path[0] == 0 &&
         m == offsetof(struct sockaddr_un, sun_path) + 6,
     "bind without a name chooses one");
  ok(sendto(y, "q", 1, 0, (void*)&a, n) == 1, "sendto");
  char t[4];
  struct sockaddr_un from;
  socklen_t k = sizeof from;
  ok(recvfrom(x, t, 4, 0, (void*)&from, &k) == 1 && k == m && !memcmp(&from, &b, m),
     "recvfrom knows the sender");
  close(x);
  ok(sendto(y, "q", 1, 0, (void*)&a, n) == -1 && errno == ECONNREFUSED,
     "gone with its socket: ECONNREFUSED");
  close(y);
}

static void rights(void) {
  int p[2], pipes[2], got[8], flags;
  char b[64];
  socketpair(AF_UNIX, SOCK_STREAM, 0, p);
  pipe(pipes);
  ok(send_fds(p[0], "x", &pipes[1], 1, 0) == 1, "a descriptor is sent");
  close(pipes[1]);
  ok(receive_fds(p[1], b, 64, got, 8, MSG_CMSG_CLOEXEC, &flags) == 1 && !strcmp(b, "x"),
     "and received");
  ok(fcntl(got[0], F_GETFD) == FD_CLOEXEC && (flags & MSG_CMSG_CLOEXEC), "MSG_CMSG_CLOEXEC");
  ok(write(got[0], "through", 7) == 7 && read(pipes[0], b, 64) == 7, "it works");
  close(got[0]);
  ok(read(pipes[0], b, 64) == 0, "closed, it was the last one");
  close(pipes[0]);

  pipe(pipes);
  send_fds(p[0], "ab", pipes, 2, 0);
  close(pipes[1]);
  ok(read(p[1], b, 64) == 2 && read(pipes[0], b, 64) == 0,
     "descriptors nobody asks for are closed");
  close(pipes[0]);

  pipe(pipes);
  send_fds(p[0], "ab", pipes, 2, 0);
  ok(receive_fds(p[1], b, 64, got, 1, 0, &flags) == 1 && (flags & MSG_CTRUNC),
     "room for one of two: MSG_CTRUNC");
  close(got[0]);
  // Stream: what lies behind a message with descriptors waits for the next call.
  write(p[0], "before", 6), send_fds(p[0], "with", pipes, 1, 0), write(p[0], "after", 5);
  ok(receive_fds(p[1], b, 64, got, 8, 0, &flags) == 1 && !strcmp(b, "beforewith"),
     "a read ends behind the bytes that carry descriptors");
  ok(read(p[1], b, 64) == 5, "the rest comes next");
  close(got[0]);
  send_fds(p[0], "peek", pipes, 1, 0);
  ok(receive_fds(p[1], b, 64, got, 8, MSG_PEEK, 0) == 1 &&
         receive_fds(p[1], b, 64, got + 1, 7, 0, 0) == 1 && got[0] != got[1],
     "MSG_PEEK gives a copy");
  close(got[0]), close(got[1]), close(pipes[0]), close(pipes[1]);
  int bad = 777;
  ok(send_fds(p[0], "x", &bad, 1, 0) == -1 && errno == EBADF, "a bad one: EBADF");
  int many[250] = {0}; // musl carries no more than a kilobyte of control messages
  ok(send_fds(p[0], "x", many, 250, 0) == 1 && read(p[1], b, 1) == 1, "250 at a time");
  close(p[0]), close(p[1]);

  // A socket dropped on its way takes what lies in its queue along.
  int q[2];
  socketpair(AF_UNIX, SOCK_DGRAM, 0, p), socketpair(AF_UNIX, SOCK_STREAM, 0, q);
  pipe(pipes);
  send_fds(q[0], "x", &pipes[1], 1, 0); // lies in q[1]
  send_fds(p[0], "x", &q[1], 1, 0);     // lies in p[1]
  close(pipes[1]), close(q[1]);
  ok(events(pipes[0], POLLIN) == 0, "a descriptor within a descriptor keeps its file open");
  close(p[1]);
  ok(read(pipes[0], b, 1) == 0, "until the outer one is dropped");
  ok(write(q[0], "x", 1) == -1 && errno == EPIPE, "its peer sees the end");
  close(p[0]), close(q[0]), close(pipes[0]);
}

// A pair where one end lies in its own queue; `probe` lies there too, so that its fate shows.
static int make_cycle(int probe, int order) {
  int p[2];
  socketpair(AF_UNIX, SOCK_STREAM, 0, p);
  int both[2] = {p[0], probe};
  int r = send_fds(p[1], "x", both, 2, 0) == 1; // into p[0]'s queue
  close(p[order]), close(p[!order]);
  return r;
}

/* Passing descriptors finds them too, without a close() of any local socket. */
static void cycles_while_passing(void) {
  enum { many = 200, cycles_made = 6 };
  int live[2], p[2], fds[many], probes[cycles_made][2], got[1];
  char b;
  socketpair(AF_UNIX, SOCK_STREAM, 0, live);
  for (int i = 0; i < many; ++i)
    fds[i] = socket(AF_UNIX, SOCK_DGRAM, 0);
  int good = send_fds(live[0], "x", fds, many, 0) == 1; // looking at these has its price
  for (int i = 0; i < many; ++i)
    close(fds[i]);
  socketpair(AF_UNIX, SOCK_STREAM, 0, p);
  for (int i = 0; i < cycles_made; ++i) {
    pipe2(probes[i], O_NONBLOCK);
    make_cycle(probes[i][1], i & 1);
    close(probes[i][1]);
  }
  for (int i = 0; i < 20; ++i) {
    good &= send_fds(p[0], "x", &probes[0][0], 1, 0) == 1 &&
            receive_fds(p[1], &b, 1, got, 1, 0, 0) == 1;
    close(got[0]);
  }
  for (int i = 0; i < cycles_made; ++i) {
    good &= read(probes[i][0], &b, 1) == 0;
    close(probes[i][0]);
  }
  ok(good, "cycles are dropped while descriptors are passed");
  close(p[0]), close(p[1]), close(live[0]), close(live[1]);
}

static void cycles(void) {
  int pipes[2];
  char b;
  pipe2(pipes, O_NONBLOCK);
  ok(make_cycle(pipes[1], 0), "a socket in its own queue");
  close(pipes[1]);
  ok(read(pipes[0], &b, 1) == 0, "is found when its peer is closed");
  close(pipes[0]);

  pipe2(pipes, O_NONBLOCK);
  make_cycle(pipes[1], 1);
  close(pipes[1]);
  int other = socket(AF_UNIX, SOCK_DGRAM, 0);
  close(other);
  ok(read(pipes[0], &b, 1) == 0, "closed in the other order, when the next socket is");
  close(pipes[0]);

  // Two pairs, each in the other's queue; one that is still open is not touched.
  int p[2], q[2], r[2];
  pipe2(pipes, O_NONBLOCK);
  socketpair(AF_UNIX, SOCK_STREAM, 0, p), socketpair(AF_UNIX, SOCK_STREAM, 0, q);
  socketpair(AF_UNIX, SOCK_STREAM, 0, r);
  send_fds(p[1], "x", (int[]){q[0], pipes[1]}, 2, 0);
  send_fds(q[1], "x", (int[]){p[0]}, 1, 0);
  send_fds(r[0], "x", (int[]){p[0]}, 1, 0); // r[1] can still receive it
  close(pipes[1]);
  close(p[0]), close(q[0]), close(p[1]), close(q[1]);
  ok(read(pipes[0], &b, 1) == -1 && errno == EAGAIN, "what can be received is no garbage");
  int got[2], inner[2];
  char t[8];
  ok(receive_fds(r[1], t, 8, got, 1, 0, 0) == 1 && receive_fds(got[0], t, 8, inner, 2, 0, 0) == 2,
     "and is received, with what it holds");
  close(inner[1]), close(inner[0]), close(got[0]), close(r[0]), close(r[1]);
  ok(read(pipes[0], &b, 1) == 0, "two that hold each other");
  close(pipes[0]);

  // A thousand of them, and the limit.
  int good = 1;
  for (int i = 0; i < 1000; ++i)
    good &= make_cycle(0, i & 1);
  ok(good, "a thousand cycles do not add up");
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  struct rlimit low = {64, limit.rlim_max};
  socketpair(AF_UNIX, SOCK_DGRAM, 0, p);
  setrlimit(RLIMIT_NOFILE, &low);
  int sent = 0, zeros[16] = {0};
  while (sent < 100 && send_fds(p[0], "x", zeros, 16, MSG_DONTWAIT) == 1)
    ++sent;
  ok(sent < 100 && errno == ETOOMANYREFS, "too many on their way: ETOOMANYREFS");
  setrlimit(RLIMIT_NOFILE, &limit);
  close(p[0]), close(p[1]);

  // A long chain of sockets, each in the next one's queue, is dropped without recursion.
  int last = -1;
  for (int i = 0; i < 3000; ++i) {
    socketpair(AF_UNIX, SOCK_STREAM, 0, p);
    if (last >= 0)
      good &= send_fds(p[0], "x", &last, 1, 0) == 1, close(last);
    close(p[0]);
    last = p[1];
  }
  close(last);
  ok(good, "a chain of 3000");
}

static void credentials(void) {
  int p[2], one = 1;
  struct ucred c = {0}, *received;
  socklen_t n = sizeof c;
  socketpair(AF_UNIX, SOCK_DGRAM, 0, p);
  ok(getsockopt(p[0], SOL_SOCKET, SO_PEERCRED, &c, &n) == 0 && c.pid == getpid(), "SO_PEERCRED");
  ok(setsockopt(p[1], SOL_SOCKET, SO_PASSCRED, &one, sizeof one) == 0, "SO_PASSCRED");
  write(p[0], "x", 1);
  union {
    struct cmsghdr align;
    char bytes[256];
  } control;
  char b[8];
  struct iovec v = {b, 8};
  struct msghdr m = {
      .msg_iov = &v, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  ok(recvmsg(p[1], &m, 0) == 1, "a message");
  struct cmsghdr* h = CMSG_FIRSTHDR(&m);
  received = h ? (void*)CMSG_DATA(h) : 0;
  ok(h && h->cmsg_type == SCM_CREDENTIALS && received->pid == getpid() &&
         received->uid == getuid() && h->cmsg_len == CMSG_LEN(sizeof c),
     "with its sender");
  m.msg_controllen = 8; // too short for a header
  write(p[0], "x", 1);
  ok(recvmsg(p[1], &m, 0) == 1 && (m.msg_flags & MSG_CTRUNC) && m.msg_controllen == 0,
     "no room for it: MSG_CTRUNC");
  close(p[0]), close(p[1]);
}

static void* slow_reader(void* arg) {
  static char block[8192];
  size_t total = 0;
  for (ssize_t n; (n = read(*(int*)arg, block, sizeof block)) > 0; total += n)
    ;
  return (void*)total;
}

static void flow(void) {
  int p[2];
  socketpair(AF_UNIX, SOCK_STREAM, 0, p);
  pthread_t reader;
  pthread_create(&reader, 0, slow_reader, &p[1]);
  static char block[300000];
  ok(write(p[0], block, sizeof block) == sizeof block, "a write larger than the queue");
  shutdown(p[0], SHUT_WR);
  void* total;
  pthread_join(reader, &total);
  ok((size_t)total == sizeof block, "all of it is read");
  close(p[0]), close(p[1]);
  socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p);
  while (write(p[0], block, 4096) > 0)
    ;
  ok(errno == EAGAIN && !(events(p[0], POLLOUT) & POLLOUT), "full: EAGAIN, not writable");
  while (read(p[1], block, sizeof block) > 0)
    ;
  ok(events(p[0], POLLOUT) == POLLOUT, "writable again");
  close(p[1]);
  ok((events(p[0], POLLIN | POLLOUT) & (POLLHUP | POLLIN)) == (POLLHUP | POLLIN), "POLLHUP");
  close(p[0]);
  struct sockaddr_un a = path("/tmp/shut.sock");
  int l = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
  bind(l, (void*)&a, sizeof a), listen(l, 1);
  ok(accept(l, 0, 0) == -1 && errno == EAGAIN, "nobody to accept");
  fcntl(l, F_SETFL, 0);
  ok(shutdown(l, SHUT_RDWR) == 0 && accept(l, 0, 0) == -1 && errno == EINVAL,
     "shutdown ends a listener: EINVAL");
  close(l);
}

static void transfer(void) {
  int p[2];
  ok(socketpair(AF_UNIX, SOCK_STREAM, 0, p) == 0, "socketpair");
  char b[64];
  ok(write(p[0], "ab", 2) == 2 && write(p[0], "cd", 2) == 2 && read(p[1], b, 64) == 4, "a stream");
  close(p[0]);
  ok(read(p[1], b, 64) == 0 && (events(p[1], POLLIN) & POLLHUP), "and its end");
  ok(send(p[1], b, 1, MSG_NOSIGNAL) == -1 && errno == EPIPE, "EPIPE");
  close(p[1]);
  ok(socketpair(AF_UNIX, SOCK_DGRAM, 0, p) == 0 && write(p[0], "ab", 2) == 2 &&
         write(p[0], "cde", 3) == 3 && read(p[1], b, 64) == 2 && read(p[1], b, 64) == 3,
     "datagrams");
  close(p[0]), close(p[1]);
  struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "/tmp/test.sock"};
  int l = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0);
  ok(bind(l, (void*)&a, sizeof a) == 0 && listen(l, 4) == 0, "a named one");
  ok(connect(c, (void*)&a, sizeof a) == 0, "connect by name");
  int s = accept(l, 0, 0);
  ok(s >= 0 && write(c, "x", 1) == 1 && read(s, b, 64) == 1, "data");
  close(s), close(c), close(l);
}

int main(void) {
  setvbuf(stdout, 0, _IOLBF, 0);
  signal(SIGPIPE, SIG_IGN);
  transfer();
  kinds();
  names();
  abstract_names();
  rights();
  cycles();
  cycles_while_passing();
  credentials();
  flow();
  return finish_counted();
}
