// Pipes, FIFOs, eventfd, timerfd, epoll (level, edge, one-shot, exclusive, nested), poll and
// select. limit: 60
#define _GNU_SOURCE
#include "tap.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define FAILS(call, code) ((call) == -1 && errno == (code))

static char block[200000];

static int64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000ll + t.tv_nsec / 1000000;
}

static int run(pthread_t* t, void* (*f)(void*), void* argument) {
  return pthread_create(t, NULL, f, argument);
}

// ------------------------------------------------------------------ pipes

static void* drain(void* fd) {
  size_t total = 0, wrong = 0;
  ssize_t n;
  char b[3001];
  while ((n = read((intptr_t)fd, b, sizeof b)) > 0) {
    for (ssize_t i = 0; i < n; ++i)
      wrong += b[i] != (char)((total + i) * 7);
    total += n;
  }
  return (void*)(n < 0 || wrong ? 0 : total);
}

static void* write_later(void* fd) {
  usleep(20000);
  return (void*)write((intptr_t)fd, "late", 4);
}

static volatile int pipe_signals;
static void on_pipe(int s) {
  (void)s;
  ++pipe_signals;
}

static void pipes(void) {
  int p[2];
  char b[64];
  ok(pipe(p) == 0, "pipe");
  ok(write(p[1], "hello", 5) == 5 && read(p[0], b, 64) == 5 && !memcmp(b, "hello", 5),
     "through it");
  ok(FAILS(write(p[0], "x", 1), EBADF) && FAILS(read(p[1], b, 1), EBADF), "each end has its use");
  ok(FAILS(lseek(p[0], 0, SEEK_SET), ESPIPE) && FAILS(pread(p[0], b, 1, 0), ESPIPE), "no seeking");
  struct stat s;
  ok(fstat(p[0], &s) == 0 && S_ISFIFO(s.st_mode), "fstat says FIFO");
  int n = -1;
  write(p[1], "abc", 3);
  ok(ioctl(p[0], FIONREAD, &n) == 0 && n == 3, "FIONREAD");
  read(p[0], b, 64);
  pthread_t t;
  run(&t, write_later, (void*)(intptr_t)p[1]);
  int64_t started = now_ms();
  ok(read(p[0], b, 64) == 4 && now_ms() - started >= 10, "an empty pipe is waited for");
  pthread_join(t, NULL);
  fcntl(p[0], F_SETFL, O_NONBLOCK);
  ok(FAILS(read(p[0], b, 1), EAGAIN), "unless O_NONBLOCK");
  fcntl(p[1], F_SETFL, O_NONBLOCK);
  ssize_t put = write(p[1], block, sizeof block);
  ok(put == 65536, "a pipe holds 64 kB");
  ok(FAILS(write(p[1], b, 1), EAGAIN), "and no more");
  ok(read(p[0], block, 4095) == 4095 && FAILS(write(p[1], block, 4096), EAGAIN),
     "4096 bytes go in whole or not at all");
  ok(write(p[1], block, 5000) == 4095, "longer ones in part");
  close(p[0]);
  signal(SIGPIPE, on_pipe);
  ok(FAILS(write(p[1], "x", 1), EPIPE) && pipe_signals == 1, "EPIPE and SIGPIPE without readers");
  close(p[1]);

  pipe(p);
  for (size_t i = 0; i < sizeof block; ++i)
    block[i] = (char)(i * 7);
  run(&t, drain, (void*)(intptr_t)p[0]);
  ok(write(p[1], block, sizeof block) == sizeof block, "a blocking write larger than the pipe");
  close(p[1]);
  void* total;
  pthread_join(t, &total);
  ok((size_t)total == sizeof block, "arrives in order, then end of file");
  close(p[0]);
  ok(pipe2(p, O_CLOEXEC | O_NONBLOCK) == 0 && fcntl(p[0], F_GETFD) == FD_CLOEXEC &&
         (fcntl(p[1], F_GETFL) & O_NONBLOCK),
     "pipe2");
  close(p[0]);
  close(p[1]);
  // Many pipes: what they hold comes back.
  int good = 1;
  for (int i = 0; i < 2000; ++i) {
    pipe(p);
    good &= write(p[1], block, 60000) == 60000;
    close(p[0]);
    close(p[1]);
  }
  ok(good, "2000 pipes with 60 kB each, one after the other");
}

static void* open_for_writing(void* path) {
  usleep(20000);
  int fd = open(path, O_WRONLY);
  write(fd, "fifo", 4);
  close(fd);
  return NULL;
}

static void fifos(void) {
  char b[16];
  ok(mkfifo("/tmp/fifo", 0600) == 0, "mkfifo");
  ok(FAILS(open("/tmp/fifo", O_WRONLY | O_NONBLOCK), ENXIO), "no writer without a reader");
  pthread_t t;
  run(&t, open_for_writing, "/tmp/fifo");
  int fd = open("/tmp/fifo", O_RDONLY);
  ok(fd >= 0 && read(fd, b, 16) == 4 && !memcmp(b, "fifo", 4), "opening waits for the other end");
  ok(read(fd, b, 16) == 0, "end of file when the writer is gone");
  pthread_join(t, NULL);
  close(fd);
  fd = open("/tmp/fifo", O_RDONLY | O_NONBLOCK);
  struct pollfd p = {fd, POLLIN, 0};
  ok(fd >= 0 && poll(&p, 1, 0) == 0, "a reader that comes first sees no hang-up");
  close(fd);
  unlink("/tmp/fifo");
}

// ------------------------------------------------------------------ eventfd and timerfd

static void eventfds(void) {
  uint64_t v = 0;
  int fd = eventfd(3, EFD_NONBLOCK);
  ok(read(fd, &v, 8) == 8 && v == 3 && FAILS(read(fd, &v, 8), EAGAIN),
     "eventfd is read and emptied");
  v = 5;
  write(fd, &v, 8);
  write(fd, &v, 8);
  ok(read(fd, &v, 8) == 8 && v == 10, "writes add up");
  ok(FAILS(read(fd, &v, 4), EINVAL), "eight bytes or nothing");
  v = ~0ull;
  ok(FAILS(write(fd, &v, 8), EINVAL), "the largest value is refused");
  v = ~0ull - 1;
  ok(write(fd, &v, 8) == 8, "one less is taken");
  v = 1;
  ok(FAILS(write(fd, &v, 8), EAGAIN), "then it is full");
  struct pollfd p = {fd, POLLIN | POLLOUT, 0};
  ok(poll(&p, 1, 0) == 1 && p.revents == POLLIN, "and polls as readable only");
  close(fd);
  fd = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK);
  ok(read(fd, &v, 8) == 8 && v == 1 && read(fd, &v, 8) == 8 && v == 1 &&
         FAILS(read(fd, &v, 8), EAGAIN),
     "a semaphore gives one at a time");
  close(fd);
}

static void timerfds(void) {
  uint64_t v = 0;
  int fd = timerfd_create(CLOCK_MONOTONIC, 0);
  struct itimerspec s = {{0, 0}, {0, 30000000}}, old;
  int64_t started = now_ms();
  ok(timerfd_settime(fd, 0, &s, NULL) == 0 && read(fd, &v, 8) == 8 && v == 1 &&
         now_ms() - started >= 29,
     "a timer fires once");
  ok(timerfd_gettime(fd, &old) == 0 && old.it_value.tv_sec == 0 && old.it_value.tv_nsec == 0,
     "and is disarmed");
  s.it_interval.tv_nsec = 10000000;
  s.it_value.tv_nsec = 10000000;
  timerfd_settime(fd, 0, &s, NULL);
  usleep(55000);
  ok(read(fd, &v, 8) == 8 && v >= 5, "an interval counts what was missed");
  struct pollfd p = {fd, POLLIN, 0};
  ok(poll(&p, 1, 1000) == 1 && p.revents == POLLIN, "poll waits for a timer");
  ok(timerfd_settime(fd, 0, &(struct itimerspec){{0, 0}, {0, 0}}, &old) == 0 &&
         old.it_interval.tv_nsec == 10000000,
     "the old setting comes back");
  fcntl(fd, F_SETFL, O_NONBLOCK);
  ok(FAILS(read(fd, &v, 8), EAGAIN), "a disarmed timer never fires");
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  s = (struct itimerspec){{0, 0}, t};
  ok(timerfd_settime(fd, TFD_TIMER_ABSTIME, &s, NULL) == 0 && (usleep(5000), read(fd, &v, 8)) == 8,
     "an absolute time that has passed fires at once");
  close(fd);
  fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK);
  clock_gettime(CLOCK_REALTIME, &t);
  t.tv_sec += 1000;
  s.it_value = t;
  ok(timerfd_settime(fd, TFD_TIMER_ABSTIME, &s, NULL) == 0 && timerfd_gettime(fd, &old) == 0 &&
         old.it_value.tv_sec >= 998 && old.it_value.tv_sec <= 1000,
     "an absolute wall-clock time");
  close(fd);
  ok(FAILS(timerfd_create(99, 0), EINVAL), "an unknown clock");
  ok(FAILS(timerfd_gettime(0, &old), EINVAL), "not a timer");
}

// ------------------------------------------------------------------ epoll

static int add(int e, int fd, uint32_t events, uint64_t data) {
  struct epoll_event v = {.events = events, .data.u64 = data};
  return epoll_ctl(e, EPOLL_CTL_ADD, fd, &v);
}
static int modify(int e, int fd, uint32_t events, uint64_t data) {
  struct epoll_event v = {.events = events, .data.u64 = data};
  return epoll_ctl(e, EPOLL_CTL_MOD, fd, &v);
}
static void signal_event(int fd) {
  uint64_t one = 1;
  write(fd, &one, 8);
}
static void clear_event(int fd) {
  uint64_t v;
  read(fd, &v, 8);
}

static void* signal_later(void* fd) {
  usleep(30000);
  signal_event((intptr_t)fd);
  return NULL;
}

// Sets in five layers, each of which watches all of the next layer. Returns how many calls failed;
// a walk along every way would take minutes.
static int layers_of_sets(void) {
  enum { layers = 5, wide = 32, all = layers * wide };
  struct epoll_event v;
  int sets[all], bad = 0, one = eventfd(0, 0);
  for (int i = 0; i < all; i++)
    sets[i] = epoll_create1(0);
  for (int i = all - wide; i-- > 0;)
    for (int k = 0; k < wide; k++)
      bad += add(sets[i], sets[(i / wide + 1) * wide + k], EPOLLIN, 1) != 0;
  for (int i = all - wide; i < all; i++)
    bad += add(sets[i], one, EPOLLIN, 1) != 0;
  signal_event(one);
  for (int i = 0; i < all; i++)
    bad += epoll_wait(sets[i], &v, 1, 0) != 1;
  for (int i = 0; i < all; i++)
    close(sets[i]);
  close(one);
  return bad;
}

static void epolls(void) {
  struct epoll_event v[64];
  int e = epoll_create1(EPOLL_CLOEXEC), a = eventfd(0, EFD_NONBLOCK), b = eventfd(0, EFD_NONBLOCK);
  ok(e >= 0 && fcntl(e, F_GETFD) == FD_CLOEXEC, "epoll_create1");
  ok(add(e, a, EPOLLIN, 11) == 0 && add(e, b, EPOLLIN, 22) == 0, "two descriptors");
  ok(FAILS(add(e, a, EPOLLIN, 1), EEXIST), "not the same twice");
  ok(FAILS(modify(e, 1000, EPOLLIN, 1), EBADF) && FAILS(modify(e, 1, EPOLLIN, 1), ENOENT),
     "nor one that is not there");
  ok(FAILS(add(e, e, EPOLLIN, 1), EINVAL), "nor itself");
  int file = open("/tmp/f", O_CREAT | O_RDWR, 0600);
  ok(FAILS(add(e, file, EPOLLIN, 1), EPERM), "nor a regular file");
  close(file);
  ok(FAILS(epoll_wait(e, v, 0, 0), EINVAL) && FAILS(epoll_wait(a, v, 1, 0), EINVAL),
     "bad arguments");
  ok(epoll_wait(e, v, 64, 0) == 0, "nothing is ready");
  int64_t started = now_ms();
  ok(epoll_wait(e, v, 64, 40) == 0 && now_ms() - started >= 39 && now_ms() - started < 2000,
     "the timeout");
  signal_event(b);
  ok(epoll_wait(e, v, 64, -1) == 1 && v[0].events == EPOLLIN && v[0].data.u64 == 22,
     "one is ready");
  ok(epoll_wait(e, v, 64, 0) == 1, "level: it is still reported");
  signal_event(a);
  ok(epoll_wait(e, v, 64, 0) == 2, "now both");
  ok(epoll_wait(e, v, 1, 0) == 1, "room for one");
  uint64_t first = v[0].data.u64;
  ok(epoll_wait(e, v, 1, 0) == 1 && v[0].data.u64 != first, "then comes the other one's turn");
  clear_event(a);
  clear_event(b);
  ok(epoll_wait(e, v, 64, 0) == 0, "level: gone when it is read");
  ok(FAILS(epoll_wait(e, (void*)8, 64, 0), EFAULT) || epoll_wait(e, v, 64, 0) == 0,
     "a bad array without events");
  signal_event(a);
  ok(FAILS(epoll_wait(e, (void*)8, 64, 0), EFAULT), "a bad array with events");
  ok(epoll_wait(e, v, 64, 0) == 1, "loses none of them");
  clear_event(a);

  pthread_t t;
  run(&t, signal_later, (void*)(intptr_t)a);
  started = now_ms();
  ok(epoll_wait(e, v, 64, 5000) == 1 && now_ms() - started >= 20 && now_ms() - started < 2000,
     "a sleeper is woken");
  pthread_join(t, NULL);
  clear_event(a);

  ok(modify(e, a, EPOLLIN | EPOLLET, 33) == 0, "modify to edge-triggered");
  signal_event(a);
  ok(epoll_wait(e, v, 64, 0) == 1 && v[0].data.u64 == 33, "edge: reported");
  ok(epoll_wait(e, v, 64, 0) == 0, "edge: once");
  signal_event(a);
  ok(epoll_wait(e, v, 64, 0) == 1, "edge: again when more comes");
  ok(modify(e, a, EPOLLIN | EPOLLET, 33) == 0 && epoll_wait(e, v, 64, 0) == 1,
     "edge: modify arms it again");
  clear_event(a);
  signal_event(a);
  clear_event(a);
  ok(epoll_wait(e, v, 64, 0) == 0, "what came and went is not reported");

  modify(e, a, EPOLLIN | EPOLLONESHOT, 44);
  signal_event(a);
  ok(epoll_wait(e, v, 64, 0) == 1 && epoll_wait(e, v, 64, 0) == 0, "one-shot: once");
  signal_event(a);
  ok(epoll_wait(e, v, 64, 0) == 0, "one-shot: silent afterwards");
  ok(modify(e, a, EPOLLIN | EPOLLONESHOT, 45) == 0 && epoll_wait(e, v, 64, 0) == 1 &&
         v[0].data.u64 == 45,
     "one-shot: armed again, it sees what is there");
  clear_event(a);

  ok(modify(e, a, 0, 0) == 0, "no events wanted");
  signal_event(a);
  ok(epoll_wait(e, v, 64, 0) == 0, "none reported");
  ok(modify(e, a, EPOLLOUT | EPOLLIN, 1) == 0 && epoll_wait(e, v, 64, 0) == 1 &&
         v[0].events == (EPOLLIN | EPOLLOUT),
     "several at once");
  ok(epoll_ctl(e, EPOLL_CTL_DEL, a, NULL) == 0 && epoll_wait(e, v, 64, 0) == 0,
     "removed while ready");
  ok(FAILS(epoll_ctl(e, EPOLL_CTL_DEL, a, NULL), ENOENT), "only once");
  signal_event(b);
  close(b);
  ok(epoll_wait(e, v, 64, 0) == 0, "closing removes it");
  b = eventfd(1, 0);
  int c = dup(b);
  add(e, b, EPOLLIN, 55);
  close(b);
  ok(epoll_wait(e, v, 64, 0) == 1, "not while a duplicate is open");
  close(c);
  ok(epoll_wait(e, v, 64, 0) == 0, "but then");

  int p[2];
  pipe(p);
  add(e, p[0], EPOLLIN | EPOLLRDHUP, 66);
  close(p[1]);
  ok(epoll_wait(e, v, 64, 100) == 1 && v[0].events == EPOLLHUP,
     "the hang-up of a pipe is always reported");
  close(p[0]);
  close(a);

  // Nested.
  int outer = epoll_create1(0);
  a = eventfd(0, EFD_NONBLOCK);
  ok(add(outer, e, EPOLLIN, 77) == 0, "an epoll descriptor in another");
  ok(FAILS(add(e, outer, EPOLLIN, 1), ELOOP), "not in a circle");
  add(e, a, EPOLLIN, 88);
  ok(epoll_wait(outer, v, 64, 0) == 0, "nothing yet");
  run(&t, signal_later, (void*)(intptr_t)a);
  ok(epoll_wait(outer, v, 64, 5000) == 1 && v[0].data.u64 == 77, "ready through two levels");
  pthread_join(t, NULL);
  ok(epoll_wait(e, v, 64, 0) == 1 && v[0].data.u64 == 88, "and it is the inner one's event");
  clear_event(a);
  ok(epoll_wait(outer, v, 64, 0) == 0, "level through two levels");
  struct pollfd q = {e, POLLIN, 0};
  ok(poll(&q, 1, 0) == 0 && (signal_event(a), poll(&q, 1, 0)) == 1, "poll of an epoll descriptor");
  close(e);
  ok(epoll_wait(outer, v, 64, 0) == 0, "the inner one closed");
  close(outer);

  // From the outermost inwards, so that each that is added is empty: notifications go up the chain
  // on the kernel's stack.
  int chain[300], links = 0;
  chain[0] = epoll_create1(0);
  for (; links < 299; links++) {
    chain[links + 1] = epoll_create1(0);
    if (add(chain[links], chain[links + 1], EPOLLIN, 1))
      break;
  }
  ok(links == 4 && errno == ELOOP, "nested four times and no more");
  add(chain[links], a = eventfd(1, 0), EPOLLIN, 1);
  add(chain[links - 1], a, EPOLLIN, 1);
  ok(epoll_wait(chain[0], v, 64, 0) == 1, "ready through all of them");
  ok(FAILS(add(chain[4], chain[0], EPOLLIN, 1), ELOOP), "not in a wide circle");
  for (int i = 0; i <= links + 1; i++)
    close(chain[i]);
  close(a);

  ok(layers_of_sets() == 0, "a million ways from the outermost sets to the innermost");

  // Many descriptors, few ready.
  e = epoll_create1(0);
  static int many[3000];
  int good = 1;
  for (int i = 0; i < 3000; ++i) {
    many[i] = eventfd(0, EFD_NONBLOCK);
    good &= add(e, many[i], EPOLLIN | (i % 2 ? EPOLLET : 0), i) == 0;
  }
  ok(good, "3000 descriptors");
  for (int i = 0; i < 3000; i += 100)
    signal_event(many[i]);
  ok(epoll_wait(e, v, 64, 0) == 30, "30 of them ready");
  for (int i = 0; i < 3000; ++i)
    close(many[i]);
  ok(epoll_wait(e, v, 64, 0) == 0, "all closed");
  close(e);
  close(a);
}

// Several threads on one epoll descriptor: each event wakes one of them.
static int shared_epoll, shared_events[8];
static volatile int wakeups;
static void* waiter(void* unused) {
  struct epoll_event v;
  while (epoll_wait(shared_epoll, &v, 1, -1) == 1) {
    if (v.data.u64 == 99)
      break;
    __sync_fetch_and_add(&wakeups, 1);
    clear_event(shared_events[v.data.u64]);
  }
  return unused;
}

static void epoll_threads(void) {
  pthread_t t[4];
  shared_epoll = epoll_create1(0);
  for (int i = 0; i < 8; ++i) {
    shared_events[i] = eventfd(0, EFD_NONBLOCK);
    add(shared_epoll, shared_events[i], EPOLLIN | EPOLLET, i);
  }
  for (int i = 0; i < 4; ++i)
    run(&t[i], waiter, NULL);
  usleep(10000);
  for (int round = 0; round < 50; ++round) {
    for (int i = 0; i < 8; ++i)
      signal_event(shared_events[i]);
    int64_t until = now_ms() + 2000;
    while (wakeups < (round + 1) * 8 && now_ms() < until)
      usleep(200);
  }
  ok(wakeups == 400, "four threads share 400 events, none lost, none twice");
  int stop = eventfd(1, 0);
  add(shared_epoll, stop, EPOLLIN, 99);
  for (int i = 0; i < 4; ++i)
    pthread_join(t[i], NULL);
  ok(1, "and all of them see a level-triggered one");
}

// One epoll descriptor each, all watching the same file exclusively: somebody must see every event.
static int exclusive_event;
static volatile int exclusive_seen;
static void* exclusive_waiter(void* unused) {
  struct epoll_event v;
  uint64_t value;
  int e = epoll_create1(0);
  add(e, exclusive_event, EPOLLIN | EPOLLEXCLUSIVE, 1);
  add(e, shared_events[0], EPOLLIN, 2); // the end
  for (;;) {
    if (epoll_wait(e, &v, 1, -1) != 1 || v.data.u64 == 2)
      break;
    if (read(exclusive_event, &value, 8) == 8)
      __sync_fetch_and_add(&exclusive_seen, (int)value);
  }
  close(e);
  return unused;
}

static void exclusive(void) {
  pthread_t t[3];
  struct epoll_event v = {.events = EPOLLIN};
  int e = epoll_create1(0);
  exclusive_event = eventfd(0, EFD_NONBLOCK);
  shared_events[0] = eventfd(0, EFD_NONBLOCK);
  ok(add(e, exclusive_event, EPOLLIN | EPOLLEXCLUSIVE, 1) == 0 &&
         FAILS(epoll_ctl(e, EPOLL_CTL_MOD, exclusive_event, &v), EINVAL),
     "an exclusive registration is not modified");
  ok(FAILS(add(shared_epoll, e, EPOLLIN | EPOLLEXCLUSIVE, 1), EINVAL),
     "nor made for another epoll");
  close(e);
  for (int i = 0; i < 3; ++i)
    run(&t[i], exclusive_waiter, NULL);
  usleep(10000);
  for (int i = 1; i <= 100; ++i) {
    signal_event(exclusive_event);
    int64_t until = now_ms() + 2000;
    while (exclusive_seen < i && now_ms() < until)
      usleep(100);
  }
  ok(exclusive_seen == 100, "exclusive waiters see every event");
  signal_event(shared_events[0]);
  for (int i = 0; i < 3; ++i)
    pthread_join(t[i], NULL);
}

// ------------------------------------------------------------------ signals

static volatile int alarms;
static void on_alarm(int s) {
  (void)s;
  ++alarms;
}

static void interrupted(void) {
  struct epoll_event v;
  struct sigaction act = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
  sigaction(SIGALRM, &act, NULL);
  int e = epoll_create1(0);
  struct itimerval it = {{0, 0}, {0, 20000}};
  setitimer(ITIMER_REAL, &it, NULL);
  ok(FAILS(epoll_wait(e, &v, 1, 5000), EINTR) && alarms == 1,
     "a signal ends epoll_wait, whatever SA_RESTART says");
  setitimer(ITIMER_REAL, &it, NULL);
  ok(FAILS(poll(NULL, 0, 5000), EINTR) && alarms == 2, "and poll");
  setitimer(ITIMER_REAL, &it, NULL);
  ok(FAILS(select(0, NULL, NULL, NULL, &(struct timeval){5, 0}), EINTR) && alarms == 3,
     "and select");
  sigset_t block_it, none;
  sigemptyset(&none);
  sigemptyset(&block_it);
  sigaddset(&block_it, SIGALRM);
  sigprocmask(SIG_BLOCK, &block_it, NULL);
  raise(SIGALRM);
  ok(alarms == 3 && FAILS(epoll_pwait(e, &v, 1, 1000, &none), EINTR) && alarms == 4,
     "epoll_pwait lets a blocked signal in");
  raise(SIGALRM);
  ok(FAILS(ppoll(NULL, 0, &(struct timespec){1, 0}, &none), EINTR) && alarms == 5, "ppoll too");
  raise(SIGALRM);
  ok(FAILS(pselect(0, NULL, NULL, NULL, &(struct timespec){1, 0}, &none), EINTR) && alarms == 6,
     "pselect too");
  raise(SIGALRM);
  ok(epoll_wait(e, &v, 1, 0) == 0 && alarms == 6, "and the mask is back");
  sigprocmask(SIG_UNBLOCK, &block_it, NULL);
  // A pipe read with SA_RESTART goes on.
  int p[2];
  char b[8];
  pipe(p);
  pthread_t t;
  int before = alarms;
  run(&t, write_later, (void*)(intptr_t)p[1]);
  it.it_value.tv_usec = 5000;
  setitimer(ITIMER_REAL, &it, NULL);
  ok(read(p[0], b, 8) == 4 && alarms == before + 1, "a read is restarted after the handler");
  pthread_join(t, NULL);
  close(e);
}

// ------------------------------------------------------------------ poll and select

static void polls(void) {
  int p[2], q[2];
  pipe(p);
  pipe(q);
  struct pollfd f[4] = {{p[0], POLLIN, 9}, {-1, POLLIN, 9}, {p[1], POLLOUT, 9}, {q[0], POLLIN, 9}};
  ok(poll(f, 4, 0) == 1 && f[0].revents == 0 && f[1].revents == 0 && f[2].revents == POLLOUT,
     "poll");
  write(p[1], "x", 1);
  ok(poll(f, 4, -1) == 2 && f[0].revents == POLLIN, "two ready");
  f[1].fd = 999;
  ok(poll(f, 4, -1) == 3 && f[1].revents == POLLNVAL, "a closed descriptor is POLLNVAL");
  int64_t started = now_ms();
  ok(poll(&f[3], 1, 40) == 0 && now_ms() - started >= 39, "the timeout");
  pthread_t t;
  run(&t, write_later, (void*)(intptr_t)q[1]);
  ok(poll(&f[3], 1, 5000) == 1 && f[3].revents == POLLIN, "a sleeper is woken");
  pthread_join(t, NULL);
  close(q[1]);
  char b[8];
  read(q[0], b, 8);
  ok(poll(&f[3], 1, 0) == 1 && f[3].revents == POLLHUP, "hang-up");
  static struct pollfd many[500];
  for (int i = 0; i < 500; ++i)
    many[i] = (struct pollfd){p[0], POLLIN, 0};
  ok(poll(many, 500, 0) == 500, "500 at once");
  struct rlimit l;
  getrlimit(RLIMIT_NOFILE, &l);
  ok(FAILS(poll(many, l.rlim_cur + 1, 0), EINVAL), "more than there can be");

  fd_set in, out;
  FD_ZERO(&in);
  FD_ZERO(&out);
  FD_SET(p[0], &in);
  FD_SET(p[1], &out);
  FD_SET(q[0], &in);
  ok(select(q[0] + 1, &in, &out, NULL, NULL) == 3 && FD_ISSET(p[0], &in) && FD_ISSET(p[1], &out) &&
         FD_ISSET(q[0], &in),
     "select counts bits");
  read(p[0], b, 8);
  FD_ZERO(&in);
  FD_SET(p[0], &in);
  started = now_ms();
  ok(select(p[0] + 1, &in, NULL, NULL, &(struct timeval){0, 40000}) == 0 && !FD_ISSET(p[0], &in) &&
         now_ms() - started >= 39,
     "select times out");
  FD_SET(p[0], &in);
  run(&t, write_later, (void*)(intptr_t)p[1]);
  ok(select(p[0] + 1, &in, NULL, NULL, NULL) == 1 && FD_ISSET(p[0], &in), "select is woken");
  pthread_join(t, NULL);
  FD_ZERO(&in);
  FD_SET(900, &in);
  ok(FAILS(select(901, &in, NULL, NULL, NULL), EBADF), "select on a closed descriptor");
  started = now_ms();
  ok(select(0, NULL, NULL, NULL, &(struct timeval){0, 30000}) == 0 && now_ms() - started >= 29,
     "select as a sleep");
}

int main(void) {
  pipes();
  fifos();
  eventfds();
  timerfds();
  epolls();
  epoll_threads();
  exclusive();
  interrupted();
  polls();
  return finish_counted();
}
