// Pointers that a call cannot use: EFAULT for each, and short counts where a part can be used, as
// Linux has them (the whole program passes there too).
// mem: 64
#define _GNU_SOURCE
#include "tap.h"
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { page = 4096, usable = 2 * page };
static char* begin; /* two pages */
static char* end;   /* and behind them nothing */
static char* read_only;
static char good[usable] __attribute__((aligned(16)));
static char many[100000];
static const char path[] = "/tmp/bad-pointers";

static char* last(size_t bytes) {
  return end - bytes;
}

/* --- pointers in arguments: what each call says to every bad one --- */

enum how {
  in = 0,
  out = 1,      /* written: memory that is only for reading will not do */
  optional = 2, /* null is no error */
  blocks = 4,   /* null would wait for ever */
  buffer = 8,   /* a part is enough */
};

static const struct {
  const char* name;
  long value; /* 0: see bad_pointer() */
} bad[] = {{"null", 0},
           {"a low address", 64},
           {"the kernel's address", (long)0xffff800000001000},
           {"the last address", 0x7fffffffffff},
           {"no memory", 0},
           {"the end of memory", 0},
           {"memory for reading", 0}};
enum { null, low, kernel, highest, hole, cut_off, reading, bad_count };

static long bad_pointer(int n) {
  memset(last(8), 'x', 8);
  memset(good, 0, sizeof good);
  return n == hole      ? (long)end
         : n == cut_off ? (long)last(1)
         : n == reading ? (long)read_only
                        : bad[n].value;
}

static int tried(enum how h, int n) {
  return !(n == null && (h & blocks)) && !(n == cut_off && (h & buffer));
}

static int as_expected(enum how h, int n, long result, int error) {
  const int fault = result == -1 && error == EFAULT;
  if (n == null)
    return h & optional ? !fault : result == -1 && (error == EFAULT || error == EINVAL);
  return n == reading ? fault == !!(h & out) : fault;
}

/* P stands for the pointer. */
#define CASE(h, call, ...)                                                                         \
  do {                                                                                             \
    int right = 1;                                                                                 \
    for (int n = 0; n < bad_count; n++) {                                                          \
      if (!tried(h, n))                                                                            \
        continue;                                                                                  \
      const long P = bad_pointer(n);                                                               \
      errno = 0;                                                                                   \
      const long result = syscall(SYS_##call, __VA_ARGS__);                                        \
      if (!as_expected(h, n, result, errno)) {                                                     \
        printf("# %s: %ld, errno %d\n", bad[n].name, result, errno);                               \
        right = 0;                                                                                 \
      }                                                                                            \
    }                                                                                              \
    ok(right, #call "(" #__VA_ARGS__ ")");                                                         \
  } while (0)

static int file, directory, pipe_ends[2], pair[2], listener, datagrams, epoll, timer;
static const long G = (long)good, Z = (long)(good + 2048);

static void open_all(void) {
  file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
  directory = open("/tmp", O_RDONLY | O_DIRECTORY);
  pipe2(pipe_ends, O_NONBLOCK);
  socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair);
  listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  listen(listener, 1);
  datagrams = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  epoll = epoll_create1(0);
  struct epoll_event e = {.events = EPOLLOUT};
  epoll_ctl(epoll, EPOLL_CTL_ADD, pipe_ends[1], &e);
  timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
}

static void paths(void) {
  const long there = (long)path;
  CASE(in, stat, P, G);
  CASE(out, stat, there, P);
  CASE(out, lstat, there, P);
  CASE(out, fstat, file, P);
  CASE(out, newfstatat, AT_FDCWD, there, P, 0);
  CASE(out, statx, AT_FDCWD, there, 0, 0, P);
  CASE(out, statfs, there, P);
  CASE(out, fstatfs, file, P);
  CASE(in, open, P, 0);
  CASE(in, openat, AT_FDCWD, P, 0);
  CASE(in, access, P, 0);
  CASE(in, faccessat, AT_FDCWD, P, 0);
  CASE(in, mkdir, P, 0);
  CASE(in, rmdir, P);
  CASE(in, unlink, P);
  CASE(in, rename, there, P);
  CASE(in, rename, P, there);
  CASE(in, link, P, there);
  CASE(in, symlink, P, there);
  CASE(in, readlink, P, G, 100);
  CASE(in, chmod, P, 0600);
  CASE(in, chown, P, 0, 0);
  CASE(in, truncate, P, 0);
  CASE(in, chdir, P);
  CASE(in, mknod, P, 0100600, 0);
  CASE(out, getcwd, P, 100);
  CASE(in | optional, utimensat, AT_FDCWD, there, P, 0);
  CASE(in, memfd_create, P, 0);
  CASE(out, getdents64, directory, P, 1000);
}

static void descriptors(void) {
  CASE(out, pipe2, P, 0);
  CASE(out, poll, P, 1, 0);
  CASE(out, ppoll, P, 1, Z, 0, 8);
  CASE(in | blocks, ppoll, G, 0, P, 0, 8);
  CASE(in | optional, ppoll, G, 0, Z, P, 8);
  CASE(out | optional, select, 1, P, 0, 0, Z);
  CASE(out | optional, pselect6, 1, 0, P, 0, Z, 0);
  CASE(in | blocks, pselect6, 0, 0, 0, 0, P, 0);
  CASE(in | optional, pselect6, 0, 0, 0, 0, Z, P);
  CASE(in, epoll_ctl, epoll, EPOLL_CTL_MOD, pipe_ends[1], P);
  *(struct epoll_event*)good = (struct epoll_event){.events = EPOLLOUT};
  epoll_ctl(epoll, EPOLL_CTL_MOD, pipe_ends[1], (void*)good);
  CASE(out, epoll_wait, epoll, P, 1, 0);
  CASE(in | optional, epoll_pwait, epoll, G, 1, 0, P, 8);
  CASE(in | buffer, write, file, P, 10);
  CASE(in | buffer, pwrite64, file, P, 10, 0);
  CASE(out | buffer, pread64, file, P, 10, 0);
  CASE(in, readv, file, P, 1);
  CASE(in, writev, file, P, 1);
  CASE(out | optional, sendfile, pipe_ends[1], file, P, 1);
  CASE(out | optional, copy_file_range, file, P, file, 0, 1, 0);
  CASE(out | buffer, getrandom, P, 10, 0);
  CASE(out, ioctl, pipe_ends[0], FIONREAD, P);
  CASE(out, ioctl, listener, 0x8912 /* SIOCGIFCONF */, P);
  CASE(out, fcntl, file, F_GETLK, P);
}

static void sockets(void) {
  CASE(out, socketpair, AF_UNIX, SOCK_STREAM, 0, P);
  CASE(in, bind, listener, P, 16);
  CASE(in, connect, datagrams, P, 16);
  CASE(in | optional, sendto, datagrams, G, 10, 0, P, 16);
  CASE(in | buffer, sendto, pair[0], P, 10, 0, 0, 0);
  CASE(in, sendmsg, pair[0], P, 0);
  CASE(out, sendmmsg, pair[0], P, 1, 0);
  *(int*)(good + 1024) = 16;
  CASE(out, getsockname, listener, G, P);
  CASE(out, getsockopt, listener, SOL_SOCKET, SO_TYPE, G, P);
  CASE(in, setsockopt, listener, SOL_SOCKET, SO_REUSEADDR, P, 4);
  CASE(in | optional, recvmmsg, pair[0], G, 0, 0, P);
}

static void clocks_and_limits(void) {
  CASE(out, clock_gettime, CLOCK_MONOTONIC, P);
  CASE(out | optional, clock_getres, CLOCK_MONOTONIC, P);
  CASE(in, clock_nanosleep, CLOCK_MONOTONIC, 0, P, 0);
  CASE(in, nanosleep, P, 0);
  CASE(out | optional, gettimeofday, P, 0);
  CASE(out | optional, time, P);
  CASE(out | optional, times, P);
  CASE(out, getrusage, RUSAGE_SELF, P);
  CASE(out, getrlimit, RLIMIT_NOFILE, P);
  CASE(in, setrlimit, RLIMIT_CORE, P);
  CASE(out | optional, prlimit64, 0, RLIMIT_NOFILE, 0, P);
  CASE(in | optional, prlimit64, 0, RLIMIT_CORE, P, 0);
  CASE(out, uname, P);
  CASE(out, sysinfo, P);
  CASE(out, getitimer, ITIMER_REAL, P);
  CASE(in | optional, setitimer, ITIMER_REAL, P, 0);
  int id = 0;
  syscall(SYS_timer_create, CLOCK_MONOTONIC, 0, &id);
  CASE(in | optional, timer_create, CLOCK_MONOTONIC, P, G);
  CASE(out, timer_create, CLOCK_MONOTONIC, 0, P);
  CASE(in, timer_settime, id, 0, P, 0);
  CASE(out | optional, timer_settime, id, 0, Z, P);
  CASE(out, timer_gettime, id, P);
  CASE(in, timerfd_settime, timer, 0, P, 0);
  CASE(out | optional, timerfd_settime, timer, 0, Z, P);
  CASE(out, timerfd_gettime, timer, P);
  CASE(out, sched_getaffinity, 0, 8, P);
  CASE(out, sched_getparam, 0, P);
  CASE(out, sched_rr_get_interval, 0, P);
  CASE(out | optional, getcpu, P, 0);
  CASE(out, getresuid, P, G, G);
  CASE(out, getresgid, G, P, G);
  CASE(out | buffer, mincore, G & -page, page, P);
}

static void signals(void) {
  CASE(in | optional, rt_sigaction, SIGUSR1, P, 0, 8);
  CASE(out | optional, rt_sigaction, SIGUSR1, 0, P, 8);
  CASE(in | optional, rt_sigprocmask, SIG_BLOCK, P, 0, 8);
  CASE(out | optional, rt_sigprocmask, SIG_BLOCK, 0, P, 8);
  CASE(out, rt_sigpending, P, 8);
  CASE(in, rt_sigtimedwait, P, 0, Z, 8);
  CASE(in | blocks, rt_sigtimedwait, G, 0, P, 8);
  CASE(in, rt_sigqueueinfo, getpid(), SIGCONT, P);
  CASE(out | optional, sigaltstack, 0, P);
  CASE(in, signalfd4, -1, P, 8, 0);
}

static void* nothing(void* p) {
  return p;
}

static long futex(long address, int operation, long address2) {
  const long timeout_or_count = operation & 127 ? 1 : 0;
  return syscall(SYS_futex, address, operation, 1, timeout_or_count, address2, 0);
}

/* FUTEX_WAKE 1, REQUEUE 3, CMP_REQUEUE 4, WAKE_OP 5, WAKE_BITSET 10; 128 is private. */
static void futexes(void) {
  const long kernels = bad[kernel].value;
  const int operations[] = {1, 3, 4, 5, 0};
  int aligned = 1, of_kernel = 1;
  for (int i = 0; i < 5; i++) {
    aligned &= futex(G + 1, operations[i] | 128, G) == -1 && errno == EINVAL;
    of_kernel &= futex(kernels, operations[i] | 128, G) == -1 && errno == EFAULT;
  }
  ok(aligned, "a futex that is not aligned: EINVAL");
  ok(of_kernel, "a futex at the kernel's address: EFAULT");
  ok(futex(G, 3 | 128, kernels) == -1 && errno == EFAULT, "nor can waiters be moved there");
  ok(futex((long)end, 1, 0) == -1 && errno == EFAULT, "a shared futex without memory: EFAULT");
  ok(futex((long)end, 128, 0) == -1 && errno == EFAULT, "nor can it be waited for");
  ok(futex(G, 5 | 128, (long)end) == -1 && errno == EFAULT, "nor changed on the way");
  ok(futex(G, 10 | 128, 0) == -1 && errno == EINVAL, "waking nobody by an empty set: EINVAL");
  ok(futex(G, 77, 0) == -1 && errno == ENOSYS, "an operation that nobody knows: ENOSYS");
  ok(futex(G, 1 | 128, 0) == 0, "a good one");
}

/* --- short counts --- */

#define FAULTS(call) ((errno = 0, (call)) == -1 && errno == EFAULT)

static void files(void) {
  memset(many, 'y', sizeof many);
  ftruncate(file, 0);
  lseek(file, 0, SEEK_SET);
  ok(write(file, last(100), 200) == 100 && lseek(file, 0, SEEK_CUR) == 100, "write: 100 of 200");
  ok(write(file, last(5), 8) == 5 && lseek(file, 0, SEEK_CUR) == 105, "write: 5 of 8");
  ok(FAULTS(write(file, end, 1)) && lseek(file, 0, SEEK_CUR) == 105, "write: none of 1");
  ok(pwrite(file, last(usable), 20000, 0) == usable, "pwrite: two pages of five");
  pwrite(file, many, sizeof many, 0);
  int each = 1;
  for (int n = 1; n < 200; n++) {
    memset(last(200), 'z', 200);
    each &= pread(file, last(n), n + 1 + n % 40, 0) == n && last(n)[0] == 'y' && end[-1] == 'y' &&
            end[-n - 1] == 'z';
  }
  ok(each, "pread: every count from 1 to 199");
  lseek(file, 0, SEEK_SET);
  ok(read(file, last(5000), 9000) == 5000 && lseek(file, 0, SEEK_CUR) == 5000,
     "read: 5,000 of 9,000");
  struct iovec v[] = {{last(100), 100}, {end, 50}, {last(100), 100}};
  ok(preadv(file, v, 3, 0) == 100 && pwritev(file, v, 3, 0) == 100, "vectors end at the bad piece");
  ok(FAULTS(preadv(file, v + 1, 2, 0)) && FAULTS(pwritev(file, v + 1, 2, 0)), "nothing before it");
  ok(FAULTS(pread(file, last(10), (size_t)1 << 62, 0)) &&
         FAULTS(write(file, last(10), (size_t)1 << 63)),
     "a length beyond all memory");
  ok(pread(file, end, 10, sizeof many) == 0 && write(file, end, 0) == 0,
     "nothing to move: no fault");
}

static void devices(void) {
  ok(getrandom(last(100), 200, 0) == 100 && getrandom(last(5000), 9000, 0) == 5000, "getrandom");
  int zero = open("/dev/zero", O_RDONLY), random = open("/dev/urandom", O_RDONLY);
  ok(read(zero, last(100), 200) == 100 && read(random, last(100), 200) == 100,
     "/dev/zero, urandom");
  int proc = open("/proc/meminfo", O_RDONLY);
  ok(read(proc, last(50), 200) == 50 && FAULTS(read(proc, end, 200)), "/proc");
  ok(syscall(SYS_getdents64, directory, last(50), 1000) > 0,
     "getdents: the entries there is room for");
  int event = eventfd(5, EFD_NONBLOCK);
  ok(FAULTS(read(event, last(4), 8)) && FAULTS(write(event, last(4), 8)), "an event is whole");
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigaddset(&set, SIGUSR2);
  sigprocmask(SIG_BLOCK, &set, NULL);
  raise(SIGUSR1);
  raise(SIGUSR2);
  int fd = signalfd(-1, &set, SFD_NONBLOCK);
  ok(read(fd, last(128), 256) == 128, "signalfd: one of two");
  struct epoll_event e = {.events = EPOLLOUT};
  int two[2];
  pipe(two);
  epoll_ctl(epoll, EPOLL_CTL_ADD, two[1], &e);
  ok(epoll_wait(epoll, (void*)last(sizeof e), 2, 0) == 1, "epoll_wait: one of two");
  ok(epoll_wait(epoll, (void*)many, 2, 0) == 2, "and both are still ready");
}

/* Streams may give what there is room for, or nothing; in either case nothing is lost. */
static void stream(int from, int to, const char* what) {
  char text[100];
  for (size_t i = 0; i < sizeof many; i++)
    many[i] = (char)(i % 251);
  memcpy(begin, many, usable);
  ssize_t sent = write(from, last(5000), 9000);
  memset(many, 0, sizeof many);
  usleep(20000);
  ssize_t got = read(to, many, sizeof many);
  snprintf(text, sizeof text, "%s: what is sent is what arrives", what);
  ok(sent == got && (sent > 0 ? !memcmp(many, last(5000), sent) : errno == EAGAIN), text);
  for (size_t i = 0; i < sizeof many; i++)
    many[i] = (char)(i % 251);
  ok(write(from, many, 9000) == 9000, what);
  usleep(20000);
  ssize_t first = read(to, last(5000), 9000);
  if (first < 0)
    first = errno == EFAULT ? 0 : -1;
  char rest[9000];
  ssize_t second = read(to, rest, sizeof rest);
  snprintf(text, sizeof text, "%s: what did not fit is there still", what);
  ok(first >= 0 && first + second == 9000 && !memcmp(rest, many + first, second) &&
         (!first || !memcmp(last(5000), many, first)),
     text);
}

static void make_tcp(int* ends) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t n = sizeof a;
  int l = socket(AF_INET, SOCK_STREAM, 0);
  bind(l, (void*)&a, n);
  listen(l, 1);
  getsockname(l, (void*)&a, &n);
  ends[0] = socket(AF_INET, SOCK_STREAM, 0);
  connect(ends[0], (void*)&a, n);
  ends[1] = accept4(l, NULL, NULL, SOCK_NONBLOCK);
  close(l);
}

static void make_udp(int* ends) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t n = sizeof a;
  ends[1] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  bind(ends[1], (void*)&a, n);
  getsockname(ends[1], (void*)&a, &n);
  ends[0] = socket(AF_INET, SOCK_DGRAM, 0);
  connect(ends[0], (void*)&a, n);
}

static void messages(int from, int to, const char* what) {
  char text[100];
  snprintf(text, sizeof text, "%s: a message is sent whole or not", what);
  ok(FAULTS(send(from, last(100), 200, 0)) && recv(to, many, 200, 0) == -1 && errno == EAGAIN,
     text);
  snprintf(text, sizeof text, "%s: one that does not reach memory is gone", what);
  ok(send(from, many, 1000, 0) == 1000 && FAULTS(recv(to, last(100), 200, 0)) &&
         recv(to, many, 200, 0) == -1 && errno == EAGAIN,
     text);
  snprintf(text, sizeof text, "%s: unless it was only looked at", what);
  ok(send(from, many, 1000, 0) == 1000 && FAULTS(recv(to, last(100), 200, MSG_PEEK)) &&
         recv(to, many, 2000, 0) == 1000,
     text);
}

int main(void) {
  begin = mmap(NULL, usable + 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  end = begin + usable;
  read_only = end + page;
  mprotect(end, page, PROT_NONE);
  mprotect(read_only, page, PROT_READ);
  pthread_t t; /* so that futexes have their waiters */
  pthread_create(&t, NULL, nothing, NULL);
  pthread_join(t, NULL);
  open_all();
  paths();
  descriptors();
  sockets();
  clocks_and_limits();
  signals();
  futexes();
  files();
  devices();
  int ends[2];
  pipe2(ends, O_NONBLOCK);
  stream(ends[1], ends[0], "pipe");
  socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends);
  stream(ends[0], ends[1], "local stream");
  make_tcp(ends);
  stream(ends[0], ends[1], "TCP");
  make_udp(ends);
  messages(ends[0], ends[1], "UDP");
  socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, ends);
  messages(ends[0], ends[1], "local datagrams");
  socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends);
  messages(ends[0], ends[1], "local messages");
  return finish_counted();
}
