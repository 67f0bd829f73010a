// No call takes time that grows with how many others were made: each kind of object is made, used
// and ended n and 4n times, and four times as many may not take much more than four times as long.
// mem: 256
// limit: 200
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "tap.h"

static int failed_line; // of the case that runs: the first call that failed
#define MUST(condition)                                                                            \
  do {                                                                                             \
    if (!(condition) && !failed_line)                                                              \
      failed_line = __LINE__;                                                                      \
  } while (0)

static long now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000 + t.tv_nsec;
}

enum { most = 40000 };
static int fds[most];
static timer_t timers[most];

/* --- timers and signals --- */

static struct sigevent event_of(int signo) {
  struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = signo};
  return e;
}

static void some_timers(int n) {
  struct sigevent e = event_of(SIGRTMIN);
  struct itimerspec later = {{0, 0}, {1000, 0}};
  for (int i = 0; i < n; i++)
    MUST(timer_create(CLOCK_MONOTONIC, &e, &timers[i]) == 0);
  for (int i = 0; i < n; i++)
    MUST(timer_settime(timers[i], 0, &later, NULL) == 0);
  for (int i = 0; i < n; i++)
    MUST(timer_gettime(timers[i], &later) == 0);
  for (int i = 0; i < n; i++)
    MUST(timer_delete(timers[i]) == 0);
}

// All at one moment, and their signals are taken.
static void timers_at_once(int n) {
  struct sigevent e = event_of(SIGRTMIN);
  for (int i = 0; i < n; i++)
    MUST(timer_create(CLOCK_MONOTONIC, &e, &timers[i]) == 0);
  struct itimerspec now = {{0, 0}, {0, 1}};
  for (int i = 0; i < n; i++)
    MUST(timer_settime(timers[i], TIMER_ABSTIME, &now, NULL) == 0);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN);
  for (int i = 0; i < n; i++)
    MUST(sigwaitinfo(&set, NULL) == SIGRTMIN);
  for (int i = n; i-- > 0;)
    MUST(timer_delete(timers[i]) == 0);
}

static void queued_signals(int n) {
  siginfo_t info;
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN + 1);
  sigaddset(&set, SIGRTMIN + 2);
  for (int i = 0; i < n; i++)
    MUST(sigqueue(getpid(), SIGRTMIN + 1 + i % 2, (union sigval){.sival_int = i}) == 0);
  for (int i = 0; i < n; i++)
    MUST(sigwaitinfo(&set, &info) == SIGRTMIN + 1 + (i >= n / 2) &&
         info.si_value.sival_int == (i < n / 2 ? 2 * i : 2 * (i - n / 2) + 1));
  for (int i = 0; i < n; i++)
    MUST(sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = i}) == 0);
  signal(SIGRTMIN + 1, SIG_IGN); // throws them all away
  signal(SIGRTMIN + 1, SIG_DFL);
  MUST(sigtimedwait(&set, NULL, &(struct timespec){0, 0}) == -1);
}

/* --- descriptors and readiness --- */

static void descriptors(int n) {
  int one = eventfd(0, 0);
  for (int i = 0; i < n; i++)
    MUST((fds[i] = dup(one)) >= 0);
  for (int i = 0; i < n; i += 2)
    MUST(close(fds[i]) == 0);
  for (int i = 0; i < n; i += 2)
    MUST((fds[i] = fcntl(one, F_DUPFD, 3)) >= 0);
  for (int i = n; i-- > 0;)
    MUST(close(fds[i]) == 0);
  close(one);
}

// One set with many descriptors of the same file, taken out in the order they came.
static void epoll_of_one_file(int n) {
  int e = epoll_create1(0), one = eventfd(1, 0);
  struct epoll_event event = {.events = EPOLLIN}, ready[16];
  for (int i = 0; i < n; i++) {
    MUST((fds[i] = dup(one)) >= 0);
    MUST(epoll_ctl(e, EPOLL_CTL_ADD, fds[i], &event) == 0);
  }
  for (int i = 0; i < n; i += 16)
    MUST(epoll_wait(e, ready, 16, 0) == 16);
  for (int i = 0; i < n; i++)
    MUST(epoll_ctl(e, EPOLL_CTL_DEL, fds[i], NULL) == 0);
  for (int i = 0; i < n; i++)
    close(fds[i]);
  close(one);
  close(e);
}

// Many sets that watch one file.
static void epolls(int n) {
  int one = eventfd(0, 0);
  struct epoll_event event = {.events = EPOLLIN};
  for (int i = 0; i < n; i++) {
    MUST((fds[i] = epoll_create1(0)) >= 0);
    MUST(epoll_ctl(fds[i], EPOLL_CTL_ADD, one, &event) == 0);
  }
  for (int i = 0; i < n; i++)
    close(fds[i]);
  close(one);
}

// A set of many sets.
static void epoll_of_epolls(int n) {
  int e = epoll_create1(0), one = eventfd(0, 0);
  struct epoll_event event = {.events = EPOLLIN};
  for (int i = 0; i < n; i++) {
    MUST((fds[i] = epoll_create1(0)) >= 0);
    MUST(epoll_ctl(fds[i], EPOLL_CTL_ADD, one, &event) == 0);
    MUST(epoll_ctl(e, EPOLL_CTL_ADD, fds[i], &event) == 0);
  }
  MUST(write(one, &(uint64_t){1}, 8) == 8);
  MUST(epoll_wait(e, &event, 1, 0) == 1);
  int above = epoll_create1(0);
  for (int i = 0; i < 32; i++) {
    MUST(epoll_ctl(above, EPOLL_CTL_ADD, e, &event) == 0);
    MUST(epoll_ctl(above, EPOLL_CTL_DEL, e, &event) == 0);
  }
  close(e);
  close(above);
  for (int i = 0; i < n; i++)
    close(fds[i]);
  close(one);
}

static void polled(int n) {
  static struct pollfd p[most];
  for (int i = 0; i < n; i++)
    MUST((p[i].fd = eventfd(0, 0)) >= 0);
  for (int i = 0; i < n; i++)
    p[i].events = POLLIN;
  for (int i = 0; i < 20; i++)
    MUST(poll(p, (nfds_t)n, i % 2) == 0);
  for (int i = 0; i < n; i++)
    close(p[i].fd);
}

static void pipes(int n) {
  char c;
  for (int i = 0; i + 1 < n; i += 2)
    MUST(pipe2(fds + i, O_NONBLOCK) == 0);
  for (int i = 0; i + 1 < n; i += 2)
    MUST(write(fds[i + 1], "x", 1) == 1 && read(fds[i], &c, 1) == 1);
  for (int i = 0; i < n; i++)
    close(fds[i]);
}

static void timer_files(int n) {
  struct itimerspec every = {{0, 1}, {0, 1}}, later = {{0, 0}, {1000, 0}};
  for (int i = 0; i < n; i++) {
    MUST((fds[i] = timerfd_create(CLOCK_MONOTONIC, 0)) >= 0);
    MUST(timerfd_settime(fds[i], 0, i % 2 ? &later : &every, NULL) == 0);
  }
  uint64_t count;
  for (int i = 0; i < n; i += 2)
    MUST(read(fds[i], &count, 8) == 8);
  for (int i = 0; i < n; i++)
    close(fds[i]);
}

/* --- local sockets --- */

static socklen_t abstract_name(struct sockaddr_un* a, int i) {
  *a = (struct sockaddr_un){.sun_family = AF_UNIX};
  return offsetof(struct sockaddr_un, sun_path) + 1 +
         (socklen_t)sprintf(a->sun_path + 1, "name-%d", i);
}

static void abstract_names(int n) {
  struct sockaddr_un a;
  for (int i = 0; i < n; i++) {
    MUST((fds[i] = socket(AF_UNIX, SOCK_DGRAM, 0)) >= 0);
    const socklen_t length = abstract_name(&a, i);
    MUST(bind(fds[i], (struct sockaddr*)&a, length) == 0);
  }
  for (int i = 0; i < n; i++) {
    const socklen_t length = abstract_name(&a, n - 1 - i);
    MUST(connect(fds[i], (struct sockaddr*)&a, length) == 0);
    MUST(sendto(fds[i], "x", 1, 0, (struct sockaddr*)&a, length) == 1);
  }
  for (int i = 0; i < n; i++)
    close(fds[i]);
}

static void names_in_the_tree(int n) {
  struct sockaddr_un a = {.sun_family = AF_UNIX};
  MUST(mkdir("/tmp/sockets", 0700) == 0);
  for (int i = 0; i < n; i++) {
    sprintf(a.sun_path, "/tmp/sockets/%d", i);
    MUST((fds[i] = socket(AF_UNIX, SOCK_STREAM, 0)) >= 0);
    MUST(bind(fds[i], (struct sockaddr*)&a, sizeof a) == 0 && listen(fds[i], 4) == 0);
  }
  for (int i = 0; i < n; i++) {
    sprintf(a.sun_path, "/tmp/sockets/%d", i);
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    MUST(connect(s, (struct sockaddr*)&a, sizeof a) == 0);
    close(s);
    MUST(unlink(a.sun_path) == 0);
  }
  for (int i = 0; i < n; i++)
    close(fds[i]);
  MUST(rmdir("/tmp/sockets") == 0);
}

static void pass(int through, int fd) {
  char room[CMSG_SPACE(sizeof(int))] = {0}, byte = 0;
  struct iovec v = {&byte, 1};
  struct msghdr m = {
      .msg_iov = &v, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
  struct cmsghdr* c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(c), &fd, sizeof fd);
  MUST(sendmsg(through, &m, 0) == 1);
}

// Pairs whose ends are on their way through other pairs; half of them in cycles.
static void descriptors_in_flight(int n) {
  for (int i = 0; i < n; i += 2)
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, fds + i) == 0);
  for (int i = 0; i < n; i += 2) {
    pass(fds[i], fds[(i + 2) % n]);
    if (i % 4 == 0)
      pass(fds[i], fds[i + 1]);
  }
  for (int i = 0; i < n; i++)
    close(fds[i]);
}

static void pending_connections(int n) {
  struct sockaddr_un a;
  const socklen_t length = abstract_name(&a, 0);
  if (n > 4000) // the backlog's limit
    n = 4000;
  int listener = socket(AF_UNIX, SOCK_STREAM, 0);
  MUST(bind(listener, (struct sockaddr*)&a, length) == 0 && listen(listener, 4096) == 0);
  for (int i = 0; i < n; i++) {
    MUST((fds[i] = socket(AF_UNIX, SOCK_STREAM, 0)) >= 0);
    MUST(connect(fds[i], (struct sockaddr*)&a, length) == 0);
  }
  for (int i = 0; i < n / 2; i++) {
    int s = accept(listener, NULL, NULL);
    MUST(s >= 0);
    close(s);
  }
  close(listener);
  for (int i = 0; i < n; i++)
    close(fds[i]);
}

/* --- memory --- */

static void areas(int n) {
  char* at = mmap(NULL, (size_t)n * 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  MUST(at != MAP_FAILED);
  for (int i = 0; i < n; i++) // every second page, in an order that is no order
    MUST(mprotect(at + (size_t)(i * 7919l % n) * 8192, 4096, PROT_READ) == 0);
  for (int i = 0; i < n; i++)
    MUST(madvise(at + (size_t)i * 8192, 4096, MADV_DONTNEED) == 0);
  for (int i = 0; i < n; i++)
    MUST(munmap(at + (size_t)(i * 7919l % n) * 8192, 4096) == 0);
  MUST(munmap(at, (size_t)n * 8192) == 0);
}

// Mappings that find a place of their own, with holes between them that are too small.
static void mappings(int n) {
  static char* at[most];
  for (int i = 0; i < n; i++)
    MUST((at[i] = mmap(NULL, 8192, i % 2 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                       0)) != MAP_FAILED);
  for (int i = 0; i < n; i++)
    MUST(munmap(at[i], 4096) == 0);
  for (int i = 0; i < n; i++) {
    char* more = mmap(NULL, 12288, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(more != MAP_FAILED);
    MUST(munmap(at[i] + 4096, 4096) == 0 && munmap(more, 12288) == 0);
  }
}

/* --- the file tree --- */

static void names(int n) {
  char name[64], other[64];
  MUST(mkdir("/tmp/many", 0700) == 0);
  for (int i = 0; i < n; i++) {
    sprintf(name, "/tmp/many/%d", i);
    const int fd = open(name, O_CREAT | O_WRONLY, 0600);
    MUST(fd >= 0);
    close(fd);
  }
  for (int i = 0; i < n; i++) {
    sprintf(name, "/tmp/many/%d", i);
    sprintf(other, "/tmp/many/new-%d", i);
    MUST(rename(name, other) == 0);
  }
  int seen = 0;
  DIR* d = opendir("/tmp/many");
  MUST(d != NULL);
  for (struct dirent* e; d && (e = readdir(d));)
    if (e->d_name[0] == 'n') {
      seen++;
      MUST(unlinkat(dirfd(d), e->d_name, 0) == 0);
    }
  closedir(d);
  MUST(seen == n && rmdir("/tmp/many") == 0);
}

// A directory in a directory in a directory.
static void deep_directories(int n) {
  int at = open("/tmp", O_RDONLY | O_DIRECTORY), top = at;
  for (int i = 0; i < n; i++) {
    MUST(mkdirat(at, "d", 0700) == 0);
    const int next = openat(at, "d", O_RDONLY | O_DIRECTORY);
    MUST(next >= 0);
    if (at != top)
      close(at);
    at = next;
  }
  for (int i = 0; i < n; i++) {
    const int up = openat(at, "..", O_RDONLY | O_DIRECTORY);
    MUST(up >= 0 && unlinkat(up, "d", AT_REMOVEDIR) == 0);
    close(at);
    at = up;
  }
  close(at);
  close(top);
}

static void sparse_file(int n) {
  const int fd = memfd_create("sparse", 0);
  for (int i = 0; i < n; i++)
    MUST(pwrite(fd, "x", 1, (off_t)(i * 7919l % n) << 24) == 1);
  for (int i = n; i-- > 0;)
    MUST(ftruncate(fd, (off_t)i << 24) == 0);
  close(fd);
}

/* --- threads --- */

static uint32_t words[most];
static uint32_t all_words;

static void* wait_for_word(void* word) {
  while (__atomic_load_n((uint32_t*)word, __ATOMIC_SEQ_CST) == 0)
    syscall(SYS_futex, word, 128, 0, NULL, NULL, 0); // FUTEX_WAIT_PRIVATE
  return NULL;
}

static pthread_t threads[most];

static void start_threads(int n, int apart) {
  pthread_attr_t small;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 8192);
  for (int i = 0; i < n; i++) {
    words[i] = 0;
    MUST(pthread_create(&threads[i], &small, wait_for_word, apart ? &words[i] : &all_words) == 0);
  }
}

// Many waiters at one word, and many words in one hash bucket's way.
static void waiters_at_one_word(int n) {
  all_words = 0;
  start_threads(n, 0);
  usleep(1000);
  syscall(SYS_futex, &all_words, 128 | 3, 0, n / 2, words + most - 1, 0); // FUTEX_REQUEUE
  all_words = 1;
  syscall(SYS_futex, &all_words, 128 | 1, n, NULL, NULL, 0);
  syscall(SYS_futex, words + most - 1, 128 | 1, n, NULL, NULL, 0);
  for (int i = 0; i < n; i++)
    MUST(pthread_join(threads[i], NULL) == 0);
}

static void waiters_at_many_words(int n) {
  start_threads(n, 1);
  usleep(1000);
  for (int i = n; i-- > 0;) {
    __atomic_store_n(&words[i], 1, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, &words[i], 128 | 1, 1, NULL, NULL, 0);
  }
  for (int i = 0; i < n; i++)
    MUST(pthread_join(threads[i], NULL) == 0);
}

/* --- measuring --- */

struct scaled {
  const char* name;
  void (*run)(int n);
  int n;
};
static const struct scaled cases[] = {
    {"timers", some_timers, 4000},
    {"timers that expire at once", timers_at_once, 4000},
    {"queued signals", queued_signals, 4000},
    {"descriptors", descriptors, 8000},
    {"an epoll set with one file many times", epoll_of_one_file, 4000},
    {"epoll sets that watch one file", epolls, 4000},
    {"an epoll set of epoll sets", epoll_of_epolls, 2000},
    {"poll", polled, 4000},
    {"pipes", pipes, 4000},
    {"timerfds", timer_files, 4000},
    {"abstract names of sockets", abstract_names, 3000},
    {"sockets' names in the tree", names_in_the_tree, 2000},
    {"descriptors in flight", descriptors_in_flight, 2000},
    {"connections nobody accepted", pending_connections, 1000},
    {"areas of memory", areas, 4000},
    {"mappings with holes", mappings, 4000},
    {"names in a directory", names, 2000},
    {"directories below each other", deep_directories, 2000},
    {"a sparse file", sparse_file, 2000},
    {"waiters at one word", waiters_at_one_word, 1000},
    {"waiters at many words", waiters_at_many_words, 1000},
};
enum { case_count = sizeof cases / sizeof *cases };

static long time_of(const struct scaled* c, int n) {
  const long start = now_ns();
  c->run(n);
  return now_ns() - start;
}

// Four times as many take 4 times as long if the work is linear, 16 times if it is quadratic. The
// machine may be busy with something else in any of the two measurements: then once more.
static void measure(const struct scaled* c) {
  long few = 1, many = 0;
  int good = 0;
  failed_line = 0;
  c->run(c->n / 8); // memory for tables and slabs is there now
  for (int attempt = 0; attempt < 4 && !good && !failed_line; attempt++) {
    few = time_of(c, c->n);
    many = time_of(c, 4 * c->n);
    good = many < 9 * few;
  }
  printf("# %s: %ld us for %d, %ld.%ld times as long for %d\n", c->name, few / 1000, c->n,
         many / few, many * 10 / few % 10, 4 * c->n);
  if (failed_line)
    printf("# line %d failed\n", failed_line);
  ok(good && !failed_line, c->name);
}

int main(int argc, char** argv) {
  plan(argc > 1 ? atoi(argv[2]) - atoi(argv[1]) + 1 : case_count);
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, NULL);
  const struct rlimit descriptors = {1 << 18, 1 << 18};
  setrlimit(RLIMIT_NOFILE, &descriptors);
  for (int i = 0; i < case_count; i++)
    if (argc == 1 || (i >= atoi(argv[1]) && i <= atoi(argv[2])))
      measure(&cases[i]);
  return finish();
}
