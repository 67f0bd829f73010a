/* What a program sees of a machine that was stopped for some seconds: the wall clock goes on where
 * the host's is, and those who wait for a moment on it hear of it; the monotonic clock stood still.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { wait_s = 5 };

static double read_clock(clockid_t c) {
  struct timespec t;
  clock_gettime(c, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double began;
static struct itimerspec moment;

static void tell(const char* who) {
  printf("clock: %s monotonic %.3f wall %.3f\n", who, read_clock(CLOCK_MONOTONIC) - began,
         read_clock(CLOCK_REALTIME));
  fflush(stdout);
}

static void* sleeper(void* p) {
  clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &moment.it_value, NULL);
  tell("sleeper");
  return p;
}

static void* reader(void* p) {
  int fd = timerfd_create(CLOCK_REALTIME, 0);
  uint64_t ticks = 0;
  timerfd_settime(fd, TFD_TIMER_ABSTIME, &moment, NULL);
  if (read(fd, &ticks, sizeof ticks) == sizeof ticks && ticks == 1)
    tell("timerfd");
  return p;
}

static void* signalled(void* p) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN);
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
  timer_t timer;
  timer_create(CLOCK_REALTIME, &event, &timer);
  timer_settime(timer, TIMER_ABSTIME, &moment, NULL);
  if (sigwaitinfo(&set, NULL) == SIGRTMIN)
    tell("timer");
  return p;
}

/* Nothing that was set to a span of time is hurried. */
static void* unhurried(void* p) {
  int fd = timerfd_create(CLOCK_REALTIME, 0);
  uint64_t ticks = 0;
  timerfd_settime(fd, 0, &(struct itimerspec){{0, 0}, {wait_s, 0}}, NULL);
  if (read(fd, &ticks, sizeof ticks) == sizeof ticks)
    tell("relative");
  return p;
}

int main(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN);
  sigprocmask(SIG_BLOCK, &set, NULL);
  began = read_clock(CLOCK_MONOTONIC);
  clock_gettime(CLOCK_REALTIME, &moment.it_value);
  moment.it_value.tv_sec += wait_s;
  void* (*const all[])(void*) = {sleeper, reader, signalled, unhurried};
  pthread_t threads[4];
  for (int i = 0; i < 4; i++)
    pthread_create(&threads[i], NULL, all[i], NULL);

  int fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK);
  struct itimerspec far = {{0, 0}, {moment.it_value.tv_sec + 3600, 0}};
  timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &far, NULL);
  uint64_t ticks;
  printf("clock: before %s\n", read(fd, &ticks, 8) == -1 ? strerror(errno) : "a tick");
  tell("ready");
  struct pollfd p = {fd, POLLIN, 0};
  poll(&p, 1, 8000);
  printf("clock: cancel %s\n", read(fd, &ticks, 8) == -1 ? strerror(errno) : "a tick");
  printf("clock: again %s\n", read(fd, &ticks, 8) == -1 ? strerror(errno) : "a tick");
  for (int i = 0; i < 4; i++)
    pthread_join(threads[i], NULL);
  tell("end");
  return 0;
}
