// Advisory locks: flock(), fcntl's ranges of a process and of an open file description.
// mem: 32
#define _GNU_SOURCE
#include "tap.h"
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef F_OFD_SETLK
#define F_OFD_GETLK 36
#define F_OFD_SETLK 37
#define F_OFD_SETLKW 38
#endif

#define FAILS(call, code) ((call) == -1 && errno == (code))

static int open_it(int flags) {
  return open("/tmp/locked", flags | O_CREAT, 0600);
}

static int range(int fd, int command, int type, long start, long length) {
  struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
  return fcntl(fd, command, &l);
}

static int sees(int fd, int command, int type, long start, long length, struct flock* l) {
  *l = (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
  return fcntl(fd, command, l) == 0;
}

static void nothing(int s) {
  (void)s;
}

static void nap(int ms) {
  struct timespec t = {0, ms * 1000000L};
  nanosleep(&t, NULL);
}

static volatile int step, outcome, outcome_errno;

static void* wait_for_flock(void* fd) {
  step = 1;
  outcome = flock(*(int*)fd, LOCK_EX);
  outcome_errno = errno;
  step = 2;
  return NULL;
}

static void* wait_for_range(void* fd) {
  step = 1;
  outcome = range(*(int*)fd, F_OFD_SETLKW, F_WRLCK, 10, 10);
  outcome_errno = errno;
  step = 2;
  return NULL;
}

static void whole_files(void) {
  int a = open_it(O_RDWR), b = open_it(O_RDWR), c = dup(a);
  ok(flock(a, LOCK_EX) == 0, "flock: exclusive");
  ok(FAILS(flock(b, LOCK_EX | LOCK_NB), EAGAIN), "another description is refused");
  ok(FAILS(flock(b, LOCK_SH | LOCK_NB), EAGAIN), "also a shared lock");
  ok(flock(c, LOCK_EX | LOCK_NB) == 0, "a dup has the same lock");
  close(c);
  ok(FAILS(flock(b, LOCK_EX | LOCK_NB), EAGAIN), "closing the dup does not release it");
  ok(flock(a, LOCK_SH) == 0 && flock(b, LOCK_SH | LOCK_NB) == 0, "shared by both");
  ok(FAILS(flock(b, LOCK_EX | LOCK_NB), EAGAIN), "no conversion beside a reader");
  ok(flock(a, LOCK_EX | LOCK_NB) == 0, "the refused conversion lost its old lock, as on Linux");
  ok(range(b, F_SETLK, F_WRLCK, 0, 0) == 0, "ranges do not see it");
  close(a);
  ok(flock(b, LOCK_EX | LOCK_NB) == 0, "the last close releases it");
  ok(FAILS(flock(b, 0), EINVAL) && FAILS(flock(b, LOCK_SH | LOCK_EX), EINVAL), "odd operations");
  ok(FAILS(flock(99, LOCK_SH), EBADF), "no such descriptor");
  int p = open("/tmp/locked", O_PATH);
  ok(FAILS(flock(p, LOCK_SH), EBADF), "O_PATH");
  close(p);
  int renamed = open("/tmp/another", O_RDWR | O_CREAT, 0600);
  ok(flock(renamed, LOCK_EX | LOCK_NB) == 0, "another file is another lock");
  int s[2];
  ok(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0 && flock(s[0], LOCK_EX | LOCK_NB) == 0 &&
         flock(s[1], LOCK_EX | LOCK_NB) == 0,
     "sockets can be locked");
  close(s[0]), close(s[1]), close(renamed), close(b);
}

static void waiting(void) {
  int a = open_it(O_RDWR), b = open_it(O_RDWR);
  pthread_t t;
  flock(a, LOCK_EX);
  step = 0;
  pthread_create(&t, NULL, wait_for_flock, &b);
  nap(30);
  ok(step == 1, "flock waits");
  flock(a, LOCK_UN);
  pthread_join(t, NULL);
  ok(outcome == 0 && FAILS(flock(a, LOCK_SH | LOCK_NB), EAGAIN), "and has it then");
  flock(b, LOCK_UN);

  flock(a, LOCK_EX);
  step = 0;
  pthread_create(&t, NULL, wait_for_flock, &b);
  nap(30);
  pthread_kill(t, SIGUSR1);
  pthread_join(t, NULL);
  ok(outcome == -1 && outcome_errno == EINTR, "a signal interrupts the wait for flock");
  flock(a, LOCK_UN);
  ok(flock(a, LOCK_EX | LOCK_NB) == 0, "and nothing is left of it");
  flock(a, LOCK_UN);

  range(a, F_OFD_SETLK, F_RDLCK, 0, 100);
  step = 0;
  pthread_create(&t, NULL, wait_for_range, &b);
  nap(30);
  int waited = step == 1;
  range(a, F_OFD_SETLK, F_UNLCK, 0, 15);
  nap(20);
  ok(waited && step == 1, "F_OFD_SETLKW waits for all of its range");
  range(a, F_OFD_SETLK, F_UNLCK, 15, 5);
  pthread_join(t, NULL);
  ok(outcome == 0, "and is granted when the last byte is free");
  range(b, F_OFD_SETLK, F_UNLCK, 0, 0);

  range(a, F_OFD_SETLK, F_UNLCK, 0, 0);
  range(a, F_SETLK, F_WRLCK, 0, 100);
  step = 0;
  pthread_create(&t, NULL, wait_for_range, &b);
  nap(30);
  waited = step == 1;
  close(open_it(O_RDONLY));
  pthread_join(t, NULL);
  ok(waited && outcome == 0, "any close of the file releases the process's locks");
  range(b, F_OFD_SETLK, F_UNLCK, 0, 0);

  range(a, F_OFD_SETLK, F_WRLCK, 0, 0);
  step = 0;
  pthread_create(&t, NULL, wait_for_range, &b);
  nap(30);
  pthread_kill(t, SIGUSR1);
  pthread_join(t, NULL);
  ok(outcome == -1 && outcome_errno == EINTR, "a signal interrupts F_OFD_SETLKW");
  close(a), close(b);
}

static void ranges(void) {
  struct flock l;
  int a = open_it(O_RDWR), b = open_it(O_RDWR);
  ok(range(a, F_SETLK, F_WRLCK, 0, 100) == 0 && range(b, F_SETLK, F_WRLCK, 50, 100) == 0,
     "a process's own locks never conflict");
  ok(sees(b, F_GETLK, F_WRLCK, 0, 0, &l) && l.l_type == F_UNLCK, "F_GETLK does not show them");
  ok(FAILS(range(b, F_OFD_SETLK, F_RDLCK, 149, 1), EAGAIN), "a description's lock does conflict");
  ok(range(b, F_OFD_SETLK, F_WRLCK, 150, 10) == 0, "behind them there is room");
  ok(sees(a, F_GETLK, F_RDLCK, 100, 0, &l) && l.l_type == F_WRLCK && l.l_start == 150 &&
         l.l_len == 10 && l.l_whence == SEEK_SET && l.l_pid == -1,
     "F_GETLK describes the description's lock");
  ok(sees(b, F_OFD_GETLK, F_RDLCK, 0, 0, &l) && l.l_type == F_WRLCK && l.l_start == 0 &&
         l.l_len == 150 && l.l_pid == getpid(),
     "F_OFD_GETLK the process's: two that touch are one");
  ok(range(a, F_SETLK, F_UNLCK, 40, 20) == 0 && range(b, F_OFD_SETLK, F_WRLCK, 40, 20) == 0 &&
         FAILS(range(b, F_OFD_SETLK, F_WRLCK, 39, 1), EAGAIN) &&
         FAILS(range(b, F_OFD_SETLK, F_WRLCK, 60, 1), EAGAIN),
     "unlocking the middle splits");
  ok(range(a, F_SETLK, F_RDLCK, 0, 10) == 0 && range(b, F_OFD_SETLK, F_RDLCK, 0, 10) == 0 &&
         FAILS(range(b, F_OFD_SETLK, F_RDLCK, 9, 2), EAGAIN),
     "a part can become shared");
  close(b);
  ok(range(a, F_OFD_SETLK, F_WRLCK, 150, 0) == 0, "the last close gives a description's back");
  close(a);

  a = open_it(O_RDWR), b = open_it(O_RDWR);
  ok(ftruncate(a, 1000) == 0 && lseek(a, 500, SEEK_SET) == 500, "a file of 1,000 bytes");
  l = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_CUR, .l_start = 0, .l_len = -100};
  ok(fcntl(a, F_OFD_SETLK, &l) == 0 && range(b, F_OFD_SETLK, F_WRLCK, 500, 1) == 0 &&
         FAILS(range(b, F_OFD_SETLK, F_WRLCK, 400, 1), EAGAIN) &&
         range(b, F_OFD_SETLK, F_WRLCK, 399, 1) == 0,
     "a negative length is the bytes before");
  l = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_END, .l_start = -10, .l_len = 0};
  ok(fcntl(a, F_OFD_SETLK, &l) == 0 && FAILS(range(b, F_OFD_SETLK, F_RDLCK, 1L << 60, 1), EAGAIN),
     "from the end, for ever");
  l = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_CUR, .l_start = 0x7fffffffffffffff};
  ok(FAILS(fcntl(a, F_SETLK, &l), EOVERFLOW), "a start beyond 2^63");
  ok(FAILS(range(a, F_SETLK, F_WRLCK, -1, 10), EINVAL) &&
         FAILS(range(a, F_SETLK, F_WRLCK, 5, -6), EINVAL) &&
         FAILS(range(a, F_SETLK, F_WRLCK, 2, 0x7fffffffffffffff), EOVERFLOW) &&
         FAILS(range(a, F_SETLK, 7, 0, 0), EINVAL) &&
         FAILS(range(a, F_GETLK, F_UNLCK, 0, 0), EINVAL),
     "odd ranges and kinds");
  l = (struct flock){.l_type = F_WRLCK, .l_pid = 1};
  ok(FAILS(fcntl(a, F_OFD_SETLK, &l), EINVAL), "l_pid must be 0 with F_OFD_SETLK");
  ok(FAILS(fcntl(a, F_SETLK, (void*)8), EFAULT), "a wrong pointer");
  close(a), close(b);
  a = open_it(O_RDONLY), b = open_it(O_WRONLY);
  ok(FAILS(range(a, F_SETLK, F_WRLCK, 0, 0), EBADF) &&
         FAILS(range(b, F_SETLK, F_RDLCK, 0, 0), EBADF),
     "a lock needs the access it excludes");
  close(a), close(b);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static double lock_many(int fd, int n) {
  double start = now();
  for (int i = 0; i < n; i++)
    if (range(fd, F_OFD_SETLK, F_WRLCK, 2L * i, 1) != 0)
      return 1e9;
  for (int i = 0; i < n; i++)
    if (range(fd, F_OFD_SETLK, F_UNLCK, 2L * i, 1) != 0)
      return 1e9;
  return now() - start;
}

static void many(void) {
  int a = open_it(O_RDWR), b = open_it(O_RDWR);
  lock_many(a, 1000); // warm
  double few = lock_many(a, 2000), eight = lock_many(a, 16000);
  printf("# 2,000 ranges: %.0f ms, 16,000: %.0f ms\n", few * 1e3, eight * 1e3);
  ok(eight < 32 * few + 0.1, "eight times as many ranges do not cost 64 times as much");
  int n = 0, code = 0;
  while (n < 4000000 && range(a, F_OFD_SETLK, F_WRLCK, 2L * n, 1) == 0)
    n++;
  code = errno;
  printf("# %d ranges in 32 MB\n", n);
  ok(n > 10000 && n < 4000000 && code == ENOLCK, "memory limits their number: ENOLCK");
  void* p = malloc(1 << 20);
  ok(p && memset(p, 1, 1 << 20), "and leaves the program enough");
  ok(range(b, F_OFD_SETLK, F_WRLCK, 1, 1) == -1, "a new owner is refused");
  ok(range(a, F_OFD_SETLK, F_UNLCK, 0, 0) == 0, "all can be given back then");
  ok(range(b, F_OFD_SETLK, F_WRLCK, 0, 0) == 0, "and be taken by others");
  close(a), close(b);
}

int main(void) {
  struct sigaction act = {.sa_handler = nothing};
  sigaction(SIGUSR1, &act, NULL);
  whole_files();
  waiting();
  ranges();
  many();
  return finish_counted();
}
