// mem: 32
/* Clocks, sleeping, interval timers and POSIX timers. Upper limits are wide: the machine under test
 * is emulated and shared. Time that the host takes from the machine counts as CPU time of the
 * thread that ran, so whatever must cost little CPU time is measured until it did, a few times at
 * most. */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/times.h>
#include <time.h>
#include <unistd.h>

#include "tap.h"

enum { late_ms = 2000 };

static int64_t read_ns(clockid_t c) {
  struct timespec t;
  if (clock_gettime(c, &t))
    return -1;
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int64_t ms(int64_t ns) {
  return ns / 1000000;
}

static struct timespec span(long milliseconds) {
  return (struct timespec){milliseconds / 1000, milliseconds % 1000 * 1000000};
}

static int took(int64_t begin, long at_least) {
  int64_t t = ms(read_ns(CLOCK_MONOTONIC) - begin);
  return t >= at_least && t < at_least + late_ms;
}

static void burn(long milliseconds) {
  int64_t end = read_ns(CLOCK_MONOTONIC) + milliseconds * 1000000LL;
  while (read_ns(CLOCK_MONOTONIC) < end)
    ;
}

static void clocks(void) {
  int steps_back = 0;
  int64_t last = read_ns(CLOCK_MONOTONIC);
  for (int i = 0; i < 100000; i++) {
    int64_t now = read_ns(CLOCK_MONOTONIC);
    steps_back += now < last;
    last = now;
  }
  ok(!steps_back, "monotonic time never steps back");
  ok(read_ns(CLOCK_REALTIME) > 1600000000LL * 1000000000, "wall time is after 2020");
  struct timeval tv;
  gettimeofday(&tv, NULL);
  int64_t difference = read_ns(CLOCK_REALTIME) / 1000 - (tv.tv_sec * 1000000LL + tv.tv_usec);
  ok(difference >= 0 && difference < 1000000, "gettimeofday agrees with clock_gettime");
  ok(llabs(time(NULL) - tv.tv_sec) <= 1, "so does time");
  struct timespec t;
  ok(clock_getres(CLOCK_MONOTONIC, &t) == 0 && t.tv_sec == 0 && t.tv_nsec == 1, "clock_getres");
  ok(clock_gettime(77, &t) == -1 && errno == EINVAL, "there is no clock 77");
  ok(read_ns(CLOCK_BOOTTIME) >= last, "CLOCK_BOOTTIME counts like CLOCK_MONOTONIC");
  int64_t before = read_ns(CLOCK_MONOTONIC);
  t = (struct timespec){2000000000, 500000000};
  clock_settime(CLOCK_REALTIME, &t);
  ok(time(NULL) - 2000000000 < 2, "the wall clock can be set");
  ok(ms(read_ns(CLOCK_MONOTONIC) - before) < late_ms, "which leaves monotonic time alone");
}

enum { attempts = 20 };

/* True if measure(), in ms, is below the limit in one of some attempts. */
static int costs_less_than(int64_t limit, int64_t (*measure)(void)) {
  for (int i = 0; i < attempts; i++)
    if (measure() < limit)
      return 1;
  return 0;
}

static void* burn_in_thread(void* p) {
  burn(60);
  clockid_t mine;
  pthread_getcpuclockid(pthread_self(), &mine);
  *(int64_t*)p = read_ns(mine);
  return p;
}

static int64_t cost_of_sleeping(void) {
  int64_t process = read_ns(CLOCK_PROCESS_CPUTIME_ID);
  struct timespec t = span(100);
  nanosleep(&t, NULL);
  return ms(read_ns(CLOCK_PROCESS_CPUTIME_ID) - process);
}

static int64_t cost_of_another_thread(void) {
  int64_t other = 0, own = read_ns(CLOCK_THREAD_CPUTIME_ID);
  pthread_t thread;
  pthread_create(&thread, NULL, burn_in_thread, &other);
  pthread_join(thread, NULL);
  return ms(other) >= 50 ? ms(read_ns(CLOCK_THREAD_CPUTIME_ID) - own) : INT64_MAX;
}

static void cpu_time(void) {
  ok(costs_less_than(50, cost_of_sleeping), "sleeping costs no CPU time");
  int64_t process = read_ns(CLOCK_PROCESS_CPUTIME_ID);
  burn(60);
  int64_t used = ms(read_ns(CLOCK_PROCESS_CPUTIME_ID) - process);
  ok(used >= 55 && used < 60 + late_ms, "computing does");
  process = read_ns(CLOCK_PROCESS_CPUTIME_ID);
  ok(costs_less_than(50, cost_of_another_thread), "each thread has its own");
  ok(ms(read_ns(CLOCK_PROCESS_CPUTIME_ID) - process) >= 50, "the process has all of it");
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  struct tms ticks;
  ok(times(&ticks) != -1 && ticks.tms_utime >= 10, "times counts hundredths of a second");
  ok(u.ru_utime.tv_sec * 1000 + u.ru_utime.tv_usec / 1000 >= 100 && u.ru_maxrss > 0,
     "getrusage knows CPU time and memory");
  struct timespec t = span(30);
  ok(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &t, NULL) == EINVAL,
     "nobody sleeps on his own CPU time");
}

static void sleeping(void) {
  struct timespec t = span(30);
  int64_t begin = read_ns(CLOCK_MONOTONIC);
  ok(nanosleep(&t, NULL) == 0 && took(begin, 30), "nanosleep");
  t.tv_nsec = 1000000000;
  ok(nanosleep(&t, NULL) == -1 && errno == EINVAL, "of at most 999,999,999 ns");
  int64_t at = read_ns(CLOCK_MONOTONIC) + 40 * 1000000;
  t = (struct timespec){at / 1000000000, at % 1000000000};
  begin = read_ns(CLOCK_MONOTONIC);
  ok(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == 0 && took(begin, 39),
     "clock_nanosleep until a monotonic moment");
  at = read_ns(CLOCK_REALTIME) + 40 * 1000000;
  t = (struct timespec){at / 1000000000, at % 1000000000};
  begin = read_ns(CLOCK_MONOTONIC);
  ok(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &t, NULL) == 0 && took(begin, 39),
     "clock_nanosleep until a wall time");
  begin = read_ns(CLOCK_MONOTONIC);
  ok(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &(struct timespec){1, 0}, NULL) == 0 &&
         took(begin, 0),
     "a moment in the past is over at once");
  begin = read_ns(CLOCK_MONOTONIC);
  for (int i = 0; i < 100; i++) {
    t = (struct timespec){0, 100000};
    nanosleep(&t, NULL);
  }
  ok(took(begin, 10), "100 short sleeps");
}

static volatile sig_atomic_t alarms;
static volatile int overruns, value;

static void count(int signo) {
  (void)signo;
  alarms++;
}

static void count_timer(int signo, siginfo_t* info, void* context) {
  (void)signo;
  (void)context;
  alarms++;
  if (info->si_code == SI_TIMER) {
    overruns += info->si_overrun;
    value = info->si_value.sival_int;
  }
}

/* Sleeps out the time whatever interrupts it. */
static void sleep_through(long milliseconds) {
  struct timespec t = span(milliseconds);
  while (nanosleep(&t, &t) == -1 && errno == EINTR)
    ;
}

/* Lets the timer run until it has expired so often, or much later. */
static void wait_for_alarms(int count) {
  int64_t begin = read_ns(CLOCK_MONOTONIC);
  while (alarms < count && ms(read_ns(CLOCK_MONOTONIC) - begin) < late_ms)
    sleep_through(10);
}

static int64_t virtual_alarms_asleep(void) {
  struct itimerval once = {{0, 0}, {0, 30000}};
  alarms = 0;
  setitimer(ITIMER_VIRTUAL, &once, NULL);
  sleep_through(80);
  return alarms;
}

static void interval_timers(void) {
  signal(SIGALRM, count);
  struct itimerval every = {{0, 10000}, {0, 20000}}, never = {{0, 0}, {0, 0}}, now;
  int64_t begin = read_ns(CLOCK_MONOTONIC);
  setitimer(ITIMER_REAL, &every, NULL);
  getitimer(ITIMER_REAL, &now);
  ok(now.it_interval.tv_usec == 10000 && now.it_value.tv_usec > 0 && now.it_value.tv_usec <= 20000,
     "getitimer");
  wait_for_alarms(5);
  setitimer(ITIMER_REAL, &never, &now);
  int seen = alarms, most = (int)(ms(read_ns(CLOCK_MONOTONIC) - begin) / 10);
  ok(seen >= 5 && seen < most, "setitimer repeats");
  sleep_through(30);
  ok(alarms == seen, "until it is stopped");
  signal(SIGVTALRM, count);
  ok(costs_less_than(1, virtual_alarms_asleep), "ITIMER_VIRTUAL stands still while nothing runs");
  for (int i = 0; i < attempts && !alarms; i++)
    burn(100); /* the host may deliver the interrupt late */
  ok(alarms == 1, "and expires once its CPU time is used");
  alarm(100);
  ok(alarm(0) >= 99, "alarm tells what was left of the last one");
}

static void* set_clock_later(void* p) {
  sleep_through(20);
  clock_settime(CLOCK_REALTIME, p);
  return p;
}

static void setting_the_clock(void) {
  pthread_t t;
  struct timespec moment, new_time;
  clock_gettime(CLOCK_REALTIME, &moment);
  moment.tv_sec += 1000;
  new_time = (struct timespec){moment.tv_sec + 1, 0};
  pthread_create(&t, NULL, set_clock_later, &new_time);
  int64_t begin = read_ns(CLOCK_MONOTONIC);
  int r = clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &moment, NULL);
  pthread_join(t, NULL);
  ok(r == 0 && took(begin, 20), "setting the clock ends a sleep until a wall time");

  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
  struct itimerspec once = {{0, 0}, {0, 0}};
  timer_t timer;
  timer_create(CLOCK_REALTIME, &event, &timer);
  clock_gettime(CLOCK_REALTIME, &once.it_value);
  once.it_value.tv_sec += 1000;
  new_time = (struct timespec){once.it_value.tv_sec + 1, 0};
  alarms = 0;
  timer_settime(timer, TIMER_ABSTIME, &once, NULL);
  sleep_through(20);
  int before = alarms;
  clock_settime(CLOCK_REALTIME, &new_time);
  sleep_through(20);
  ok(before == 0 && alarms == 1, "and lets a timer of the wall clock expire");
  timer_delete(timer);
}

static void timerfds_of_the_wall_clock(void) {
  struct itimerspec in_1000_s = {{0, 0}, {0, 0}}, left;
  clock_gettime(CLOCK_REALTIME, &in_1000_s.it_value);
  in_1000_s.it_value.tv_sec += 1000;
  int plain = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK);
  int told = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK);
  int span = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK);
  int idle = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK);
  const int telling = TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET;
  timerfd_settime(plain, TFD_TIMER_ABSTIME, &in_1000_s, NULL);
  timerfd_settime(told, telling, &in_1000_s, NULL);
  timerfd_settime(span, TFD_TIMER_CANCEL_ON_SET, &(struct itimerspec){{0, 0}, {1000, 0}}, NULL);
  timerfd_settime(idle, telling, &(struct itimerspec){{0, 0}, {0, 0}}, NULL);
  uint64_t v;
  struct timespec half = {in_1000_s.it_value.tv_sec - 500, 0};
  struct timespec past = {in_1000_s.it_value.tv_sec + 1, 0};
  struct pollfd ready[4] = {
      {plain, POLLIN, 0}, {told, POLLIN, 0}, {span, POLLIN, 0}, {idle, POLLIN, 0}};
  ok(poll(ready, 4, 0) == 0, "timerfds of the wall clock wait");
  clock_settime(CLOCK_REALTIME, &half);
  sleep_through(10);
  ok(poll(ready, 4, 0) == 2 && ready[1].revents && ready[3].revents,
     "those that want to know hear that it was set");
  ok(read(told, &v, 8) == -1 && errno == ECANCELED && read(idle, &v, 8) == -1 && errno == ECANCELED,
     "by ECANCELED");
  ok(read(told, &v, 8) == -1 && errno == EAGAIN, "once");
  timerfd_gettime(plain, &left);
  ok(left.it_value.tv_sec >= 490 && left.it_value.tv_sec <= 500, "what is left follows the clock");
  clock_settime(CLOCK_REALTIME, &past);
  sleep_through(10);
  ok(read(plain, &v, 8) == 8 && v == 1 && read(plain, &v, 8) == -1 && errno == EAGAIN,
     "and the timer expires when it shows the moment");
  ok(read(span, &v, 8) == -1 && errno == EAGAIN, "one with a span of time does not care");
  close(plain), close(told), close(span), close(idle);

  struct timespec far = {INT64_MAX, 0}, end = {9223372036, 0};
  ok(clock_settime(CLOCK_REALTIME, &far) == -1 && errno == EINVAL &&
         clock_settime(CLOCK_REALTIME, &end) == -1 && errno == EINVAL,
     "the wall clock keeps away from the end of its range");
}

static volatile int notified_value;

static void notify(union sigval v) {
  notified_value += v.sival_int;
}

static void posix_timers(void) {
  struct sigaction sa = {.sa_sigaction = count_timer, .sa_flags = SA_SIGINFO};
  sigaction(SIGRTMIN, &sa, NULL);
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
  event.sigev_value.sival_int = 42;
  timer_t timer;
  ok(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0, "timer_create");
  struct itimerspec every = {{0, 10000000}, {0, 10000000}}, now, never = {{0, 0}, {0, 0}};
  alarms = 0;
  timer_settime(timer, 0, &every, NULL);
  wait_for_alarms(3);
  ok(alarms >= 3 && value == 42, "a timer sends its signal with its value, repeatedly");
  timer_gettime(timer, &now);
  ok(now.it_interval.tv_nsec == 10000000 && now.it_value.tv_nsec <= 10000000, "timer_gettime");

  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN);
  sigprocmask(SIG_BLOCK, &set, NULL);
  sleep_through(100);
  timer_settime(timer, 0, &never, NULL);
  alarms = overruns = 0;
  sigprocmask(SIG_UNBLOCK, &set, NULL);
  ok(alarms == 1 && overruns >= 4 && timer_getoverrun(timer) == overruns,
     "expirations that find the signal pending are its overrun");

  int64_t at = read_ns(CLOCK_REALTIME) + 30 * 1000000;
  struct itimerspec once = {{0, 0}, {at / 1000000000, at % 1000000000}};
  timer_t wall;
  timer_create(CLOCK_REALTIME, &event, &wall);
  alarms = 0;
  timer_settime(wall, TIMER_ABSTIME, &once, NULL);
  sleep_through(60);
  ok(alarms == 1, "an absolute timer of the wall clock");
  ok(timer_delete(wall) == 0 && timer_delete(timer) == 0, "timer_delete");

  sigprocmask(SIG_BLOCK, &set, NULL);
  timer_create(CLOCK_MONOTONIC, &event, &timer);
  timer_settime(timer, 0, &every, NULL);
  sleep_through(30);
  timer_delete(timer);
  alarms = 0;
  sigprocmask(SIG_UNBLOCK, &set, NULL);
  ok(alarms == 1, "a signal that is pending outlives its timer");

  event = (struct sigevent){.sigev_notify = SIGEV_THREAD};
  event.sigev_notify_function = notify;
  event.sigev_value.sival_int = 5;
  ok(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0, "a timer with a thread");
  once = (struct itimerspec){{0, 0}, {0, 5000000}};
  timer_settime(timer, 0, &once, NULL);
  sleep_through(60);
  ok(notified_value == 5, "whose function is called");
  timer_delete(timer);

  event = (struct sigevent){.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
  sigprocmask(SIG_BLOCK, &set, NULL);
  timer_create(CLOCK_MONOTONIC, &event, &timer);
  struct itimerspec storm = {{0, 2}, {0, 1}};
  timer_settime(timer, 0, &storm, NULL);
  sleep_through(20);
  timer_settime(timer, 0, &never, NULL);
  overruns = 0;
  sigprocmask(SIG_UNBLOCK, &set, NULL);
  ok(overruns > 5000000, "an interval of 2 ns counts as overrun and does not stop the machine");
  timer_delete(timer);

  timer_t many[300];
  int good = 1;
  event = (struct sigevent){.sigev_notify = SIGEV_NONE};
  for (int i = 0; i < 300; i++) {
    good &= timer_create(CLOCK_MONOTONIC, &event, &many[i]) == 0;
    once.it_value.tv_nsec = 1000000 * (1 + (i * 7) % 40);
    timer_settime(many[i], 0, &once, NULL);
  }
  sleep_through(60);
  for (int i = 0; i < 300; i++) {
    timer_gettime(many[i], &now);
    good &= now.it_value.tv_sec == 0 && now.it_value.tv_nsec == 0;
    timer_delete(many[i]);
  }
  ok(good, "300 timers at once, all expired");
}

/* Ticks of a timerfd that was set going with `interval`, in 40 ms. */
static uint64_t ticks_of(int clock, struct timespec first, struct timespec interval) {
  int fd = timerfd_create(clock, TFD_NONBLOCK);
  struct itimerspec s = {interval, first}, left;
  timerfd_settime(fd, 0, &s, NULL);
  uint64_t all = 0, v;
  for (int i = 0; i < 4; i++) {
    sleep_through(10);
    if (read(fd, &v, 8) == 8)
      all += v;
  }
  timerfd_gettime(fd, &left);
  close(fd);
  return left.it_value.tv_sec < 1000000 ? UINT64_MAX : all;
}

static void* interrupt_later(void* p) {
  sleep_through(30);
  pthread_kill(*(pthread_t*)p, SIGUSR1);
  return p;
}

/* True if the call waits until a signal ends it. */
#define WAITS(call)                                                                                \
  ({                                                                                               \
    pthread_t self = pthread_self(), other;                                                        \
    int64_t begin = read_ns(CLOCK_MONOTONIC);                                                      \
    pthread_create(&other, NULL, interrupt_later, &self);                                          \
    int r = (call), e = errno;                                                                     \
    int waited = took(begin, 25);                                                                  \
    pthread_join(other, NULL);                                                                     \
    errno = e;                                                                                     \
    waited && ((r == -1 && e == EINTR) || r == EINTR);                                             \
  })

/* Spans near 2^63 and 2^64 nanoseconds, and the longest there are. */
static void endless_spans(void) {
  struct sigaction sa = {.sa_handler = count};
  sigaction(SIGUSR1, &sa, NULL);
  const struct timespec soon = {0, 1000000};
  const struct timespec endless[] = {{9223372036, 854775807}, /* 2^63 - 1 ns */
                                     {9223372036, 854775809},
                                     {18446744072, 999999999},
                                     {18446744073, 709551615}, /* 2^64 - 1 ns */
                                     {INT64_MAX, 999999999}};
  for (int i = 0; i < 5; i++) {
    const struct timespec t = endless[i];
    ok(ticks_of(CLOCK_MONOTONIC, soon, t) == 1 && ticks_of(CLOCK_REALTIME, soon, t) == 1,
       "timerfd: an interval without end ticks once");
    ok(ticks_of(CLOCK_MONOTONIC, t, soon) == 0, "and one that starts at the end, never");

    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
    struct itimerspec every = {t, soon};
    const int clocks[] = {CLOCK_MONOTONIC, CLOCK_REALTIME};
    for (int k = 0; k < 2; k++) {
      timer_t timer;
      timer_create(clocks[k], &event, &timer);
      alarms = overruns = 0;
      timer_settime(timer, 0, &every, NULL);
      sleep_through(20);
      timer_gettime(timer, &every);
      ok(alarms == 1 && overruns == 0 && every.it_value.tv_sec > 1000000,
         "a POSIX timer expires once");
      timer_delete(timer);
      every = (struct itimerspec){t, soon};
    }

    struct itimerval often = {{t.tv_sec, t.tv_nsec / 1000}, {0, 1000}}, never = {0}, old;
    alarms = 0;
    setitimer(ITIMER_REAL, &often, NULL);
    sleep_through(20);
    setitimer(ITIMER_REAL, &never, &old);
    ok(alarms == 1 && old.it_value.tv_sec > 1000000, "setitimer's, too");
    often = (struct itimerval){{0, 1000}, {t.tv_sec, t.tv_nsec / 1000}};
    alarms = 0;
    setitimer(ITIMER_REAL, &often, NULL);
    sleep_through(10);
    setitimer(ITIMER_REAL, &never, &old);
    ok(alarms == 0 && old.it_value.tv_sec > 1000000, "and not at all if it starts at the end");

    struct timespec left = {0, 0};
    struct timeval select_span = {t.tv_sec, 1000000 + t.tv_nsec / 1000};
    ok(WAITS(nanosleep(&t, &left)) && left.tv_sec > 1000000, "nanosleep");
    ok(WAITS(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &t, NULL)) &&
           WAITS(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL)),
       "clock_nanosleep");
    ok(WAITS(ppoll(NULL, 0, &t, NULL)) && WAITS(select(0, NULL, NULL, NULL, &select_span)),
       "ppoll and select");
    int epoll = epoll_create1(0);
    struct epoll_event e;
    ok(WAITS(syscall(SYS_epoll_pwait2, epoll, &e, 1, &t, NULL, 8)), "epoll_pwait2");
    close(epoll);
    int word = 0;
    ok(WAITS(syscall(SYS_futex, &word, 0 /* FUTEX_WAIT */, 0, &t, NULL, 0)), "futex");
    sem_t s;
    sem_init(&s, 0, 0);
    ok(WAITS(sem_timedwait(&s, &t)), "sem_timedwait");
    sigset_t set;
    sigemptyset(&set);
    ok(WAITS(syscall(SYS_rt_sigtimedwait, &set, NULL, &t, 8)), "sigtimedwait");
    int p[2];
    char c;
    socketpair(AF_UNIX, SOCK_STREAM, 0, p);
    struct timeval receive_span = {t.tv_sec, t.tv_nsec / 1000};
    setsockopt(p[0], SOL_SOCKET, SO_RCVTIMEO, &receive_span, sizeof receive_span);
    ok(WAITS(recv(p[0], &c, 1, 0)), "SO_RCVTIMEO");
    close(p[0]), close(p[1]);
  }
}

int main(void) {
  clocks();
  cpu_time();
  sleeping();
  interval_timers();
  posix_timers();
  setting_the_clock();
  timerfds_of_the_wall_clock();
  endless_spans();
  return finish_counted();
}
