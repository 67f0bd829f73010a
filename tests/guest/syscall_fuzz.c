// Every system call with odd arguments: no panic, no call that does not end, nothing left behind.
// args: 1 20000
// mem: 128
// limit: 180
/* syscall_fuzz SEED CALLS [FROM]: from call FROM on, each is printed before it is made.
 *
 * A second thread watches. It sends a signal to a call that lasts, so that what waits ends; a call
 * that is still there after `patience` of its looks, one every 10 ms, is a failure, and so is one
 * that kept the watcher itself from the CPU for `longest_absence`. Both are counted by the guest's
 * own progress as far as possible, since the host may be busy.
 *
 * The first half of the calls are all different, then an eighth is made several times. Everything
 * is cleared away each time: what all but the first take and do not give back is a leak. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "tap.h"

enum call_number {
#define CALL(name) call_##name,
#include "syscall_list.h"
#undef CALL
  call_count
};
static const char* const names[] = {
#define CALL(name) #name,
#include "syscall_list.h"
#undef CALL
};

static long make_call(enum call_number c, const long* a) {
  switch (c) {
#define CALL(name)                                                                                 \
  case call_##name:                                                                                \
    return syscall(SYS_##name, a[0], a[1], a[2], a[3], a[4], a[5]);
#include "syscall_list.h"
#undef CALL
  default:
    return -1;
  }
}

/* --- random numbers: SplitMix64 --- */

static uint64_t state;
static uint64_t any(void) {
  uint64_t z = state += 0x9e3779b97f4a7c15;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}
static uint64_t below(uint64_t n) {
  return any() % n;
}
#define PICK(table) table[below(sizeof table / sizeof *table)]

/* --- memory for arguments --- */

enum { page = 4096, arena_size = 256 * 1024, playground_size = 256 * 1024, descriptors = 64 };
static char* arena;      // structures and buffers; what follows it cannot be touched
static char* playground; // what mmap and its family may damage
static char* constants;  // readable only
static struct {          // in `constants`
  uint64_t masks[8];     // SIGUSR1 is in none: it is what ends a wait
  struct sigevent events[4];
  struct {
    void (*handler)(int);
    uint64_t flags;
    void (*restorer)(void);
    uint64_t mask;
  } actions[2];
  struct {
    const uint64_t* mask;
    size_t size;
  } mask_argument;
} tables;
static const void* constant(const void* in_tables) {
  return constants + ((const char*)in_tables - (const char*)&tables);
}

static const char* const paths[] = {"/tmp/a",
                                    "/tmp/b",
                                    "/tmp/d",
                                    "/tmp/d/c",
                                    "/tmp/link",
                                    "/tmp/../tmp/./a",
                                    "",
                                    "/",
                                    "..",
                                    "nothing/here",
                                    "/proc",
                                    "/proc/self/maps",
                                    "/proc/self/fd",
                                    "/proc/meminfo",
                                    "/proc/net/tcp",
                                    "/dev/null",
                                    "/dev/zero",
                                    "/dev/urandom",
                                    "/dev/full",
                                    "/proc/self/fd/7"};

static long odd_number(void) {
  static const uint64_t odd[] = {
      0,    1,    2,         3,          7,          8,          16,
      24,   128,  255,       256,        1024,       1025,       4095,
      4096, 4097, 65536,     0x7fffffff, 0x80000000, 0xffffffff, 0x100000000,
      ~0ul, ~1ul, 1ul << 63, ~0ul >> 1,  1ul << 40,  0x7ffff000, (uint32_t)AT_FDCWD};
  switch (below(6)) {
  case 0:
  case 1:
    return (long)PICK(odd);
  case 2:
    return (long)(1ul << below(20));
  case 3:
    return (long)(1ul << (24 + below(40)));
  case 4:
    return (long)any();
  default:
    return (long)below(300);
  }
}

static long bad_pointer(void) {
  static const uint64_t bad[] = {0,
                                 1,
                                 0xfff,
                                 0x10000,
                                 0x600000000000,
                                 0x6ffffffff000,
                                 0x6fffffffffff,
                                 0x700000000000,
                                 0x7fffffffffff,
                                 0x800000000000,
                                 0x8000000000000000,
                                 0xffff7fffffffffff,
                                 0xffff800000000000,
                                 0xffff800000100000,
                                 0xffffc00000000000,
                                 0xffffffffc0000000,
                                 0xffffffffc0100000,
                                 0xffffffffe0001000,
                                 ~0ul,
                                 ~7ul,
                                 ~4095ul};
  return below(5) ? (long)PICK(bad) : (long)constants + (long)below(2) * (long)below(page);
}

static long descriptor(void) {
  return 3 + (long)below(descriptors);
}

static void* in_arena(void) {
  return arena + below(arena_size / 512) * 512;
}

// What calls may expect at a pointer, in 512 bytes.
static void fill(char* at) {
  memset(at, 0, 512);
  switch (below(10)) {
  case 0:
    strcpy(at, PICK(paths));
    break;
  case 1: {
    struct iovec* v = (void*)at;
    for (int i = 0; i < 32; i++)
      v[i] = (struct iovec){below(8) ? in_arena() : (void*)bad_pointer(),
                            below(8) ? below(page) : (size_t)odd_number()};
    break;
  }
  case 2: {
    struct sockaddr_in a = {.sin_family = below(8) ? AF_INET : (sa_family_t)below(40),
                            .sin_port = htons((uint16_t)(5000 + below(8)))};
    a.sin_addr.s_addr = htonl(below(4) ? INADDR_LOOPBACK : (uint32_t)any());
    memcpy(at, &a, sizeof a);
    break;
  }
  case 3: {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    sprintf(a.sun_path + below(2), "/tmp/s%d", (int)below(4));
    memcpy(at, &a, sizeof a);
    break;
  }
  case 4: {
    struct timespec* t = (void*)at;
    for (int i = 0; i < 4; i++)
      t[i] = (struct timespec){below(4) ? 0 : odd_number(),
                               below(4) ? (long)below(3000000) : odd_number()};
    break;
  }
  case 5: {
    struct mmsghdr* m = (void*)at;
    for (int i = 0; i < 4; i++)
      m[i].msg_hdr = (struct msghdr){.msg_name = below(2) ? in_arena() : NULL,
                                     .msg_namelen = (socklen_t)below(200),
                                     .msg_iov = in_arena(),
                                     .msg_iovlen = (int)below(9),
                                     .msg_control = below(2) ? in_arena() : NULL,
                                     .msg_controllen = (socklen_t)below(600)};
    break;
  }
  case 6: {
    struct cmsghdr* c = (void*)at;
    c->cmsg_len = below(8) ? CMSG_LEN(4 * below(60)) : (socklen_t)any();
    c->cmsg_level = below(8) ? SOL_SOCKET : (int)below(50);
    c->cmsg_type = (int)below(3);
    for (int i = 0; i < 100; i++)
      ((int*)CMSG_DATA(c))[i] = (int)descriptor();
    break;
  }
  case 7: {
    struct epoll_event e = {(uint32_t)any(), {.u64 = any()}};
    memcpy(at, &e, sizeof e);
    break;
  }
  case 8: // pollfds, sets, numbers
    for (int i = 0; i < 128; i++)
      ((int*)at)[i] = (int)descriptor();
    break;
  default:
    for (int i = 0; i < 512; i += 8)
      *(uint64_t*)(at + i) = below(2) ? any() : (uint64_t)odd_number();
  }
}

static long pointer(void) {
  char* at = in_arena();
  if (below(2))
    fill(at);
  switch (below(16)) {
  case 0: // across the end
    return (long)(arena + arena_size - below(64));
  case 1: // not aligned
    return (long)(at + below(8));
  default:
    return (long)at;
  }
}

/* --- one call --- */

static int is_one_of(enum call_number c, const enum call_number* set, int n) {
  while (n-- > 0)
    if (set[n] == c)
      return 1;
  return 0;
}
#define IS(c, ...)                                                                                 \
  is_one_of(c, (const enum call_number[]){__VA_ARGS__},                                            \
            (int)(sizeof((const enum call_number[]){__VA_ARGS__}) / sizeof(enum call_number)))

static int in_application(long p) {
  return p >= 0x10000 && (uint64_t)p < 0x700000000000;
}

// 0, 1 and 2 are the console, which carries the results.
static void no_console(long* a) {
  if ((uint32_t)*a < 3)
    *a = descriptor();
}

static void keep_signal(long* signo) {
  static const int fatal[] = {SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGILL, SIGFPE,
                              SIGTRAP, SIGABRT, SIGSYS,  32,     33,     34};
  for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++)
    if ((int)*signo == fatal[i])
      *signo = SIGUSR2;
}

static long table_or_bad(const void* in_table) {
  return below(3) ? (long)constant(in_table) : below(2) ? 0 : bad_pointer();
}

// The program under the calls must live on: its memory, its handlers, its console.
static void tame(enum call_number c, long* a) {
  no_console(&a[0]);
  if (IS(c, call_dup2, call_dup3, call_sendfile))
    no_console(&a[1]);
  if (IS(c, call_copy_file_range, call_epoll_ctl, call_prlimit64))
    no_console(&a[2]);
  if (IS(c, call_sendfile, call_fallocate) && (uint64_t)a[3] > 1 << 20)
    a[3] = 4096;
  if (c == call_copy_file_range && (uint64_t)a[4] > 1 << 20)
    a[4] = 4096;
  if (IS(c, call_munmap, call_mprotect, call_madvise, call_mremap, call_mlock, call_mlock2,
         call_mmap)) {
    if (in_application(a[0]))
      a[0] = (long)playground + (long)below(48) * page + (below(8) ? 0 : (long)below(page));
    if (in_application(a[0]) && (uint64_t)a[1] > 16 * page)
      a[1] = (long)below(16) * page;
  }
  if (c == call_mmap) {
    a[3] &= ~(MAP_POPULATE | MAP_LOCKED | (in_application(a[0]) ? 0 : MAP_FIXED));
    if ((uint64_t)a[1] > 1 << 30)
      a[2] = PROT_NONE;
  }
  if (c == call_mremap) {
    a[3] &= ~MREMAP_FIXED;
    if ((uint64_t)a[2] > arena_size)
      a[2] = page;
  }
  if (c == call_brk)
    a[0] = below(2) ? 0 : (long)(0xffff800000000000 | any() >> 17);
  if (c == call_rt_sigaction) {
    keep_signal(&a[0]);
    a[0] = (int)a[0] == SIGUSR1 ? SIGUSR2 : a[0];
    a[1] = table_or_bad(&tables.actions[below(2)]);
  }
  if (IS(c, call_rt_sigprocmask, call_rt_sigsuspend))
    a[c == call_rt_sigprocmask] = table_or_bad(&tables.masks[below(8)]);
  if (c == call_ppoll)
    a[3] = table_or_bad(&tables.masks[below(8)]);
  if (IS(c, call_epoll_pwait, call_epoll_pwait2))
    a[4] = table_or_bad(&tables.masks[below(8)]);
  if (c == call_pselect6)
    a[5] = table_or_bad(&tables.mask_argument);
  if (c == call_timer_create)
    a[1] = table_or_bad(&tables.events[below(4)]);
  if (IS(c, call_kill, call_tkill, call_rt_sigqueueinfo))
    keep_signal(&a[1]);
  if (IS(c, call_tgkill, call_rt_tgsigqueueinfo))
    keep_signal(&a[2]);
  if (IS(c, call_sigaltstack, call_prctl, call_set_robust_list, call_set_tid_address) && below(2))
    a[0] = bad_pointer();
  if (c == call_close_range && (uint32_t)a[0] < 3)
    a[0] = 3;
}

static volatile long sequence; // odd while a call is made; half of it is the call's number
static volatile enum call_number current;
static long arguments[6];

static void choose_arguments(long* a) {
  for (int i = 0; i < 6; i++) {
    const uint64_t kind = below(16);
    a[i] = i == 0 && kind < 9 ? descriptor()
           : kind < 5         ? odd_number()
           : kind < 11        ? pointer()
           : kind < 13        ? bad_pointer()
                              : descriptor();
  }
}

static void clean_up_after(enum call_number c, const long* a, long r) {
  if (c == call_mmap && r != -1 &&
      !(r >= (long)playground && r < (long)playground + playground_size))
    munmap((void*)r, (size_t)a[1]);
  if (c == call_mremap && r != -1 &&
      !(r >= (long)playground && r < (long)playground + playground_size))
    munmap((void*)r, (size_t)a[2]);
  const uint64_t none = 0;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, 8);
}

/* --- the surroundings of the calls --- */

static void on_signal(int signo) {
  (void)signo;
}

static void remove_all(int at, const char* name) {
  if (unlinkat(at, name, 0) == 0)
    return;
  const int fd = openat(at, name, O_RDONLY | O_DIRECTORY);
  DIR* d = fd >= 0 ? fdopendir(fd) : NULL;
  for (struct dirent* e; d && (e = readdir(d));)
    if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
      remove_all(fd, e->d_name);
  if (d)
    closedir(d);
  unlinkat(at, name, AT_REMOVEDIR);
}

static int last_timer = -1;

// Gives back everything the calls have made.
static void clear_away(void) {
  const struct itimerval never = {0};
  for (int i = 0; i < 3; i++)
    setitimer(i, &never, NULL);
  int probe;
  if (syscall(SYS_timer_create, CLOCK_MONOTONIC, NULL, &probe) == 0)
    for (; last_timer < probe; last_timer++)
      syscall(SYS_timer_delete, last_timer + 1);
  const struct rlimit files = {1024, 4096}, signals = {1024, 4096};
  setrlimit(RLIMIT_NOFILE, &files);
  setrlimit(RLIMIT_SIGPENDING, &signals);
  syscall(SYS_close_range, 3, ~0u, 0);
  syscall(SYS_set_robust_list, NULL, 24);
  syscall(SYS_set_tid_address, NULL);
  setpriority(PRIO_PROCESS, 0, 0);
  umask(022);
  if (chdir("/"))
    printf("# chdir: %d\n", errno);
  remove_all(AT_FDCWD, "/tmp");
  mkdir("/tmp", 0777);
  mmap(playground, playground_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
       -1, 0);
  for (int i = 1; i <= 64; i++) { // whatever the calls made of the handlers
    long signo = i;
    keep_signal(&signo);
    if (signo == i)
      syscall(SYS_rt_sigaction, i, constant(&tables.actions[0]), NULL, 8);
  }
}

// One of each kind of descriptor.
static void set_up(void) {
  int ends[2];
  mkdir("/tmp/d", 0777);
  open("/tmp/a", O_RDWR | O_CREAT, 0666);
  open("/tmp/b", O_RDWR | O_CREAT | O_APPEND | O_NONBLOCK, 0666);
  open("/tmp", O_RDONLY);
  open("/tmp/d", O_PATH);
  open("/proc/meminfo", O_RDONLY);
  open("/proc/self/fd", O_RDONLY);
  for (int flags = 0; flags < 2; flags++) {
    if (pipe2(ends, flags ? O_NONBLOCK : 0))
      printf("# pipe2: %d\n", errno);
    for (int type = SOCK_STREAM; type <= SOCK_DGRAM; type++) {
      socket(AF_INET, type | (flags ? SOCK_NONBLOCK : 0), 0);
      socket(AF_INET6, type, 0);
      socket(AF_UNIX, type, 0);
      socketpair(AF_UNIX, type | (flags ? SOCK_NONBLOCK : 0), 0, ends);
    }
    syscall(SYS_epoll_create1, 0);
    syscall(SYS_eventfd2, 1, flags ? O_NONBLOCK : 0);
    syscall(SYS_timerfd_create, CLOCK_MONOTONIC, flags ? O_NONBLOCK : 0);
    syscall(SYS_signalfd4, -1, constant(&tables.masks[flags]), 8, 0);
  }
  socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends);
  socket(AF_NETLINK, SOCK_RAW, 0);
  open("/dev/zero", O_RDWR);
  open("/dev/null", O_RDWR);
  open("/dev/full", O_RDWR);
  open("/dev/urandom", O_RDWR);
  memfd_create("m", 0);
}

static void make_memory(void) {
  char* all = mmap(NULL, arena_size + 1024 * 1024, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  arena = all;
  mprotect(arena, arena_size, PROT_READ | PROT_WRITE);
  memset(arena, 0, arena_size);
  playground =
      mmap(NULL, playground_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  constants = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct sigaction made = {.sa_handler = on_signal};
  sigaction(SIGUSR2, &made, NULL); // the C library knows the restorer
  syscall(SYS_rt_sigaction, SIGUSR2, NULL, &tables.actions[0], 8);
  tables.actions[1] = tables.actions[0];
  tables.actions[1].flags |= SA_RESTART | SA_NODEFER;
  for (int i = 0; i < 8; i++)
    tables.masks[i] = i < 2 ? 0 : any() & ~(1ul << (SIGUSR1 - 1));
  tables.events[0] = (struct sigevent){.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2};
  tables.events[1] = (struct sigevent){.sigev_notify = SIGEV_SIGNAL, .sigev_signo = 40};
  tables.events[2] = (struct sigevent){.sigev_notify = SIGEV_NONE};
  tables.events[3] = (struct sigevent){.sigev_notify = 4711, .sigev_signo = 4711};
  tables.mask_argument.mask = constant(tables.masks);
  tables.mask_argument.size = 8;
  memcpy(constants, &tables, sizeof tables);
  mprotect(constants, page, PROT_READ);
}

/* --- the watcher --- */

enum { patience = 1500 };               // looks of 10 ms: signals that did not end a call
static const long longest_absence = 10; // seconds
static pid_t watched;

static long now_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec;
}

static void accuse(const char* of) {
  printf("not ok 2 - call %ld, %s(%lx, %lx, %lx, %lx, %lx, %lx) %s\n", sequence / 2, names[current],
         arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5], of);
  fflush(stdout);
  _exit(1);
}

static void* watch(void* none) {
  (void)none;
  long seen = -1, looks = 0, last = now_s();
  for (;;) {
    syscall(SYS_nanosleep, &(struct timespec){0, 10000000}, NULL);
    if (now_s() - last > longest_absence)
      accuse("kept the CPU for itself");
    last = now_s();
    looks = sequence == seen ? looks + 1 : 0;
    seen = sequence;
    if (looks > patience)
      accuse("does not end");
    if (looks)
      syscall(SYS_tgkill, getpid(), watched, SIGUSR1);
  }
  return NULL;
}

/* --- */

static long made[call_count], succeeded;

static void run(long count, long trace_from) {
  for (long i = 0; i < count; i++) {
    if (i % 2000 == 0) {
      clear_away();
      set_up();
    }
    choose_arguments(arguments);
    const enum call_number c = (enum call_number)below(call_count);
    tame(c, arguments);
    current = c;
    sequence++;
    if (sequence >= trace_from) {
      printf("%ld %s(%lx, %lx, %lx, %lx, %lx, %lx)\n", sequence / 2, names[c], arguments[0],
             arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
      fflush(stdout);
    }
    const long r = make_call(c, arguments);
    made[c]++;
    succeeded += r != -1;
    sequence++;
    clean_up_after(c, arguments, r);
  }
  clear_away();
}

static long free_kilobytes(void) {
  struct sysinfo s;
  sysinfo(&s);
  return (long)(s.freeram / 1024 * s.mem_unit);
}

static int open_descriptors(void) {
  int n = 0;
  for (int i = 0; i < 4096; i++)
    n += fcntl(i, F_GETFD) != -1;
  return n;
}

/* The same calls several times: all that the first time takes and keeps for the next is there then,
 * and the others give back what they take. Returns kilobytes. */
static long lost_by_repeating(long calls, int times, long trace_from) {
  const uint64_t from = state;
  long before = 0;
  for (int time = 0; time < times; time++) {
    state = from;
    run(calls, trace_from);
    if (time == 0)
      before = free_kilobytes();
  }
  return before - free_kilobytes();
}

int main(int argc, char** argv) {
  const long seed = argc > 1 ? atol(argv[1]) : 1, calls = argc > 2 ? atol(argv[2]) : 20000;
  const long trace_from = argc > 3 ? atol(argv[3]) * 2 : __LONG_MAX__;
  plan(4);
  printf("# seed %ld, %ld calls\n", seed, calls);
  state = (uint64_t)seed;
  make_memory();
  clear_away(); // the watcher's signal has its handler now
  watched = (pid_t)syscall(SYS_gettid);
  pthread_t watcher;
  ok(pthread_create(&watcher, NULL, watch, NULL) == 0, "somebody watches");
  run(calls / 2, trace_from);
  const long lost = lost_by_repeating(calls / 8, calls < 100000 ? 16 : 4, trace_from);
  int left_out = 0;
  for (int i = 0; i < call_count; i++)
    left_out += made[i] == 0;
  printf("# %ld of %ld succeeded, %d kinds were not made, %ld kB less memory\n", succeeded, calls,
         left_out, lost);
  ok(succeeded > calls / 20 && left_out < call_count / 20, "calls were made and some succeeded");
  /* What the two threads happen to hold at the moment differs by a page or two. */
  ok(lost <= 12, "what is done again and again gives back all it takes");
  ok(open_descriptors() == 3, "no descriptor is left");
  return finish();
}
