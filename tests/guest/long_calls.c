// Calls that take long: a signal cuts them short where Linux's are, and others run meanwhile.
// mem: 128
// limit: 120
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "tap.h"

enum { kB = 1024, MB = 1024 * 1024 };
#define HUGE_COUNT 0x7ffff000L // the most that one call transfers

static volatile sig_atomic_t alarms;
static void count_alarm(int signo) {
  (void)signo;
  alarms++;
}

// And each 10 ms from then on: the first may come before the call has begun.
static void alarm_in(long us) {
  struct itimerval t = {{0, us ? 10000 : 0}, {0, us}};
  setitimer(ITIMER_REAL, &t, NULL);
}

/* --- cut short by a signal --- */

static int zero, null, urandom;
static char* buffer; // of `room` bytes
static const size_t room = 32 * MB;

static long send_random(void) {
  return sendfile(null, urandom, NULL, HUGE_COUNT);
}
static long read_zeros(void) { // many times the same 2 MB
  struct iovec v[1023];
  for (int i = 0; i < 1023; i++)
    v[i] = (struct iovec){buffer, 2 * MB};
  return readv(zero, v, 1023);
}
static long read_random(void) {
  return read(urandom, buffer, room);
}
static long get_random(void) {
  return getrandom(buffer, room - MB, 0);
}
// A sparse file of terabytes, copied to one that begins with what the first write left.
static long copy_range(void) {
  int from = memfd_create("from", 0), to = memfd_create("to", 0);
  off_t at = 0;
  long n = -1;
  if (ftruncate(from, 1l << 40) == 0)
    n = copy_file_range(from, &at, to, NULL, 48 * MB, 0);
  if (n > 0 && (at != n || lseek(to, 0, SEEK_CUR) != n))
    n = -2;
  close(from);
  close(to);
  return n;
}

struct call {
  const char* name;
  long (*make)(void);
  long whole;
};
static const struct call calls[] = {
    {"sendfile", send_random, HUGE_COUNT},
    {"a read of /dev/zero", read_zeros, 1023 * 2l * MB},
    {"a read of /dev/urandom", read_random, 32 * MB},
    {"getrandom", get_random, 31 * MB},
    {"copy_file_range", copy_range, 48 * MB},
};
enum { call_count = sizeof calls / sizeof *calls };

// The machine may be very fast: then once more.
static int cut_short(const struct call* c) {
  for (int attempt = 0; attempt < 50; attempt++) {
    const int before = alarms;
    alarm_in(2000 + attempt % 10 * 1000);
    const long n = c->make();
    alarm_in(0);
    if (n < 0 && errno == EINTR && alarms > before) // before the first octet
      return 1;
    if (n < 0) {
      printf("# %s: %ld, errno %d\n", c->name, n, errno);
      return 0;
    }
    if (n > 0 && n < c->whole && alarms > before)
      return 1;
    if (n == c->whole && alarms == before) { // not even the timer's interrupt was seen
      printf("# %s: no alarm during the call\n", c->name);
      continue;
    }
  }
  return 0;
}

static void interrupted_calls(void) {
  struct sigaction sa = {.sa_handler = count_alarm}; // no SA_RESTART
  sigaction(SIGALRM, &sa, NULL);
  for (int i = 0; i < call_count; i++) {
    char what[80];
    snprintf(what, sizeof what, "%s is cut short by a signal", calls[i].name);
    ok(cut_short(&calls[i]), what);
  }
  const int before = alarms;
  alarm_in(500);
  while (alarms == before)
    ;
  ok(read(urandom, buffer, 4096) == 4096 && getrandom(buffer, 256, 0) == 256,
     "what fits a page is whole");
}

int main(void) {
  plan(call_count + 1);
  zero = open("/dev/zero", O_RDONLY);
  null = open("/dev/null", O_WRONLY);
  urandom = open("/dev/urandom", O_RDONLY);
  buffer = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  interrupted_calls();
  return finish();
}
