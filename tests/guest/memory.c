// The application's memory: the mmap family, faults as signals, bad pointers given to system calls.
// mem: 64
#define _GNU_SOURCE
#include "tap.h"
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define FAILS(call, code) ((long)(call) == -1 && errno == (code))
#define PAGE 4096ul
#define MB (1ul << 20)

static char* map(size_t bytes, int prot) {
  return mmap(NULL, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

// --- faults

static sigjmp_buf back;
static siginfo_t seen;

static void on_fault(int signal, siginfo_t* info, void* context) {
  (void)signal, (void)context;
  seen = *info;
  siglongjmp(back, 1);
}

static void catch_faults(void) {
  static char stack[65536];
  stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
  sigaltstack(&alternate, NULL);
  struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  sigaction(SIGSEGV, &action, NULL);
  sigaction(SIGBUS, &action, NULL);
}

// The si_code with which touching ended, or 0.
static int reading(const volatile char* p) {
  if (sigsetjmp(back, 1))
    return seen.si_addr == p ? seen.si_code : -1;
  (void)*p;
  return 0;
}
static int writing(volatile char* p) {
  if (sigsetjmp(back, 1))
    return seen.si_addr == p ? seen.si_code : -1;
  *p = 1;
  return 0;
}
static int calling(char* p) {
  if (sigsetjmp(back, 1))
    return seen.si_addr == p ? seen.si_code : -1;
  ((void (*)(void))p)();
  return 0;
}

static const char constant[] = "in the read-only part";

#pragma GCC diagnostic ignored "-Winfinite-recursion" // on purpose
static int deeper(volatile char* above) {
  volatile char here[4096];
  here[0] = above[0];
  return deeper(here) + here[0];
}

static void faults(void) {
  char* p = map(4 * PAGE, PROT_READ | PROT_WRITE);
  ok(reading(p) == 0 && *p == 0, "fresh memory reads as zero");
  ok(writing(p + PAGE) == 0 && p[PAGE] == 1, "and can be written");
  mprotect(p, PAGE, PROT_READ);
  ok(writing(p) == SEGV_ACCERR && reading(p) == 0, "read-only: writing is SEGV_ACCERR");
  mprotect(p, PAGE, PROT_NONE);
  ok(reading(p) == SEGV_ACCERR, "PROT_NONE: reading is SEGV_ACCERR");
  mprotect(p + PAGE, PAGE, PROT_NONE);
  mprotect(p + PAGE, PAGE, PROT_READ | PROT_WRITE);
  ok(p[PAGE] == 1, "contents survive PROT_NONE");
  munmap(p + 2 * PAGE, PAGE);
  ok(reading(p + 2 * PAGE) == SEGV_MAPERR, "unmapped: SEGV_MAPERR with the address");
  ok(reading(NULL) == SEGV_MAPERR && writing((char*)0xfff) == SEGV_MAPERR, "page 0 is not there");
  ok(writing((char*)(uintptr_t)0xffffffffc0101000) != 0, "the kernel's code cannot be written");
  ok(writing((char*)constant) == SEGV_ACCERR, "constants cannot be written");
  ok(writing((char*)(uintptr_t)&faults) == SEGV_ACCERR, "nor can code");
  p[3 * PAGE] = (char)0xc3; // ret
  ok(calling(p + 3 * PAGE) == SEGV_ACCERR, "data cannot be executed");
  mprotect(p + 3 * PAGE, PAGE, PROT_READ | PROT_EXEC);
  ok(calling(p + 3 * PAGE) == 0, "until it is made executable");
  // The C library's own way to end a program that is broken: here a year that does not fit.
  struct tm far = {.tm_year = 100000000, .tm_mday = 1};
  if (!sigsetjmp(back, 1))
    ok(asctime(&far) == NULL && 0, "a_crash() is a fault");
  else
    ok(seen.si_signo == SIGSEGV, "a_crash() is a fault");
  volatile char first = 1;
  if (!sigsetjmp(back, 1))
    deeper(&first);
  else
    first = 2;
  ok(first == 2, "running over the stack's end is a fault, handled on the other stack");
}

// --- the calls

static void mapping_errors(void) {
  char* p = map(4 * PAGE, PROT_READ | PROT_WRITE);
  ok(FAILS(mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), EINVAL),
     "mmap: no length");
  ok(FAILS(mmap(NULL, PAGE, PROT_READ, MAP_ANONYMOUS, -1, 0), EINVAL),
     "mmap: neither private nor shared");
  ok(FAILS(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, 99, 0), EBADF), "mmap: no such file");
  ok(FAILS(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 100), EINVAL),
     "mmap: odd offset");
  ok(FAILS(mmap(p + 1, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), EINVAL),
     "mmap: MAP_FIXED at an odd address");
  ok(FAILS(mmap(p, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0),
           EEXIST),
     "mmap: MAP_FIXED_NOREPLACE over something");
  ok(FAILS(map(1ul << 60, PROT_READ | PROT_WRITE), ENOMEM), "mmap: an absurd length");
  ok(FAILS(map(8ul << 30, PROT_READ | PROT_WRITE), ENOMEM), "mmap: far more than there is");
  ok(FAILS(munmap(p + 1, PAGE), EINVAL) && FAILS(munmap(p, 0), EINVAL), "munmap: EINVAL");
  ok(FAILS(syscall(SYS_mprotect, p + 1, PAGE, PROT_READ), EINVAL), "mprotect: EINVAL");
  munmap(p + PAGE, PAGE);
  ok(FAILS(mprotect(p, 3 * PAGE, PROT_READ), ENOMEM), "mprotect over a hole: ENOMEM");
  ok(FAILS(madvise(p, 3 * PAGE, MADV_DONTNEED), ENOMEM), "madvise over a hole: ENOMEM");
  ok(FAILS(madvise(p, PAGE, 12345), EINVAL), "madvise: unknown advice");
  ok(FAILS((long)mremap(p, 3 * PAGE, 4 * PAGE, MREMAP_MAYMOVE), EFAULT),
     "mremap over a hole: EFAULT");
  ok(FAILS(msync(p, 3 * PAGE, MS_SYNC), ENOMEM) && msync(p, PAGE, MS_SYNC) == 0, "msync");
  ok(FAILS(mlock(p, 3 * PAGE), ENOMEM) && mlock(p, PAGE) == 0 && munlock(p, PAGE) == 0, "mlock");
}

static void mapping(void) {
  char* p = map(8 * PAGE, PROT_READ | PROT_WRITE);
  memset(p, 7, 8 * PAGE);
  char* same = mmap(p + PAGE, 2 * PAGE, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  ok(same == p + PAGE && p[PAGE] == 0 && p[0] == 7 && p[3 * PAGE] == 7,
     "MAP_FIXED replaces exactly its pages");
  madvise(p + 4 * PAGE, PAGE, MADV_DONTNEED);
  ok(p[4 * PAGE] == 0 && p[5 * PAGE] == 7, "MADV_DONTNEED: zero again");

  unsigned char in[8];
  char* q = map(8 * PAGE, PROT_READ | PROT_WRITE);
  q[3 * PAGE] = 1;
  int good = mincore(q, 8 * PAGE, in) == 0 && (in[3] & 1) && !(in[6] & 1);
  ok(good && FAILS(mincore(q + 1, PAGE, in), EINVAL) && FAILS(mincore(q, PAGE, (void*)8), EFAULT),
     "mincore");
  q = mmap(NULL, 8 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  good = mincore(q, 8 * PAGE, in) == 0;
  for (int i = 0; i < 8; i++)
    good = good && (in[i] & 1);
  ok(good, "MAP_POPULATE brings all in");

  char* reserve = map(64ul << 30, PROT_NONE);
  ok(reserve != MAP_FAILED && mprotect(reserve + (1ul << 30), PAGE, PROT_READ | PROT_WRITE) == 0 &&
         writing(reserve + (1ul << 30)) == 0 && munmap(reserve, 64ul << 30) == 0,
     "a reserve of 64 GB, used in its middle");
  char* sparse = map(128 * MB, PROT_READ | PROT_WRITE);
  for (size_t i = 0; i < 128 * MB; i += 4 * MB)
    sparse[i] = 1;
  ok(sparse != MAP_FAILED && sparse[MB] == 0, "twice the memory, used here and there");
  munmap(sparse, 128 * MB);
}

static int filled(const uint64_t* p, size_t from, size_t to) {
  for (size_t i = from / 8; i < to / 8; i += 64)
    if (p[i] != i * 0x9e3779b97f4a7c15)
      return 0;
  return 1;
}
static void fill(uint64_t* p, size_t from, size_t to) {
  for (size_t i = from / 8; i < to / 8; i += 64)
    p[i] = i * 0x9e3779b97f4a7c15;
}

static void large_and_moving(void) {
  // Large enough for 2 MB pages, which are cut and moved below.
  char* p = map(12 * MB, PROT_READ | PROT_WRITE);
  fill((uint64_t*)p, 0, 12 * MB);
  ok(filled((uint64_t*)p, 0, 12 * MB), "12 MB keep what was written");
  munmap(p + 5 * MB + PAGE, PAGE);
  mprotect(p + 7 * MB, PAGE, PROT_READ);
  ok(reading(p + 5 * MB + PAGE) == SEGV_MAPERR && writing(p + 7 * MB) == SEGV_ACCERR &&
         filled((uint64_t*)p, 0, 5 * MB) && filled((uint64_t*)p, 5 * MB + 2 * PAGE, 12 * MB),
     "a hole and a read-only page in the middle");
  char* wall = mmap(p + 12 * MB, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  ok(FAILS((long)mremap(p + 8 * MB, 4 * MB, 8 * MB, 0), ENOMEM) && wall,
     "mremap in place: no room");
  char* moved = mremap(p + 8 * MB, 4 * MB, 8 * MB, MREMAP_MAYMOVE);
  ok(moved != MAP_FAILED && reading(p + 8 * MB) == SEGV_MAPERR, "mremap moves");
  ok(((uint64_t*)moved)[64] == (8 * MB / 8 + 64) * 0x9e3779b97f4a7c15 && moved[5 * MB] == 0,
     "with the contents; what is new is zero");
  char* odd = mremap(moved, 8 * MB, 3 * MB, 0);
  char* target = map(4 * MB, PROT_NONE) + 3 * PAGE;
  ok(odd == moved && mremap(odd, 3 * MB, 3 * MB, MREMAP_MAYMOVE | MREMAP_FIXED, target) == target &&
         ((uint64_t*)target)[64] == (8 * MB / 8 + 64) * 0x9e3779b97f4a7c15,
     "and to a given place, off the 2 MB border");
  munmap(p, 13 * MB);
  munmap(target, 3 * MB);
}

static void file_mapping(void) {
  int fd = open("/tmp/mapped", O_CREAT | O_RDWR | O_TRUNC, 0600);
  char page[PAGE];
  for (int i = 0; i < 3; i++) {
    memset(page, 'a' + i, sizeof page);
    (void)!write(fd, page, i < 2 ? sizeof page : 100);
  }
  char* p = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  ok(p != MAP_FAILED && p[0] == 'a' && p[PAGE] == 'b' && p[2 * PAGE + 99] == 'c' &&
         p[2 * PAGE + 100] == 0,
     "a private file mapping");
  p[PAGE] = 'X';
  ok(pread(fd, page, 1, PAGE) == 1 && page[0] == 'b', "writing to it leaves the file alone");
  ok(FAILS(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0, 0), ENODEV) || errno == EACCES,
     "no shared mapping of the console");
  munmap(p, 3 * PAGE);
  close(fd);
}

// musl's own brk() always fails: the call itself.
static char* set_break(char* to) {
  return (char*)syscall(SYS_brk, to);
}

static void breaking(void) {
  char* start = set_break(0);
  if (!ok(start && set_break(start + 3 * PAGE) == start + 3 * PAGE, "brk grows"))
    return;
  start[2 * PAGE] = 5;
  ok(set_break(start) == start && set_break(start + 3 * PAGE) == start + 3 * PAGE &&
         start[2 * PAGE] == 0,
     "and shrinks");
  ok(set_break(start + (100ul << 30)) == start + 3 * PAGE, "but not beyond all bounds");
  set_break(start);
}

// --- bad pointers

static char* const bad_pointers[] = {(char*)8,
                                     (char*)0x0000700000000000,
                                     (char*)0x8000000000000000,
                                     (char*)0xffff800000100000,
                                     (char*)0xffffffffc0101000,
                                     (char*)-4096};

#define EACH_BAD(p)                                                                                \
  for (size_t i_ = 0; i_ < sizeof bad_pointers / sizeof *bad_pointers; i_++)                       \
    for (char* p = bad_pointers[i_]; p; p = NULL)
#define REFUSES(call)                                                                              \
  do {                                                                                             \
    int good_ = 1;                                                                                 \
    EACH_BAD(bad) good_ = good_ && FAILS(call, EFAULT);                                            \
    ok(good_, "EFAULT: " #call);                                                                   \
  } while (0)

static void bad_pointers_to_calls(void) {
  int fd = open("/tmp/bad", O_CREAT | O_RDWR | O_TRUNC, 0600);
  int null = open("/dev/zero", O_RDWR), pair[2];
  (void)!pipe(pair);
  (void)!write(fd, "0123456789", 10);
  (void)!write(pair[1], "0123456789", 10);
  struct iovec vector = {0, 10};
  struct timespec brief = {0, 1};
  char page[4096];

  REFUSES(pread(fd, bad, 10, 0));
  REFUSES(pwrite(fd, bad, 10, 0));
  REFUSES(read(pair[0], bad, 10));
  REFUSES(write(pair[1], bad, 10));
  REFUSES(read(null, bad, 10));
  REFUSES(write(1, bad, 10));
  REFUSES((vector.iov_base = bad, preadv(fd, &vector, 1, 0)));
  REFUSES(writev(fd, (struct iovec*)bad, 1));
  REFUSES(open(bad, O_RDONLY));
  REFUSES(syscall(SYS_stat, bad, page));
  REFUSES(syscall(SYS_fstat, fd, bad));
  REFUSES(pipe((int*)bad));
  REFUSES(nanosleep((struct timespec*)bad, NULL));
  REFUSES(poll((struct pollfd*)bad, 1, 0));
  REFUSES(select(3, (fd_set*)bad, NULL, NULL, &(struct timeval){0, 0}));
  REFUSES(sigprocmask(SIG_BLOCK, NULL, (sigset_t*)bad));
  REFUSES(getrandom(bad, 16, 0));
  REFUSES(uname((struct utsname*)bad));
  REFUSES(sysinfo((struct sysinfo*)bad));
  REFUSES(clock_gettime(CLOCK_MONOTONIC, (struct timespec*)bad));
  REFUSES(clock_settime(CLOCK_REALTIME, (struct timespec*)bad));

  char* p = map(3 * PAGE, PROT_READ | PROT_WRITE);
  munmap(p + 2 * PAGE, PAGE);
  char* end = p + 2 * PAGE;
  memset(p, 'm', 2 * PAGE);
  mprotect(p, PAGE, PROT_READ);
  ok(FAILS(pread(fd, p, 10, 0), EFAULT), "EFAULT: reading into read-only memory");
  ok(pwrite(fd, p, 10, 0) == 10, "which may be written from");
  mprotect(p, PAGE, PROT_NONE);
  ok(FAILS(pwrite(fd, p, 10, 0), EFAULT), "EFAULT: writing from PROT_NONE");
  ok(FAILS(pread(fd, (char*)constant, 4, 0), EFAULT), "EFAULT: reading into constants");
  ok(FAILS(pread(fd, (char*)(uintptr_t)&faults, 4, 0), EFAULT), "EFAULT: reading into code");
  ok(pread(fd, end - 4, 4, 0) == 4, "up to the last mapped byte");
  long n = pwrite(fd, end - 100, 200, 0);
  ok(n == 100 || (n == -1 && errno == EFAULT), "half of the buffer mapped: a part or EFAULT");
  ok(open(strcpy(end - 9, "/tmp/bad"), O_RDONLY) > 0, "a path that ends where the mapping ends");
  memset(end - 8, 'x', 8);
  ok(FAILS(open(end - 8, O_RDONLY), EFAULT), "a path that does not end there");
  ok(clock_gettime(CLOCK_REALTIME, &brief) == 0 && brief.tv_sec > 0, "and all still works");
}

// --- the allocator

static void* churn(void* argument) {
  unsigned state = (unsigned)(uintptr_t)argument;
  void* slots[64] = {0};
  size_t sizes[64] = {0};
  for (int i = 0; i < 20000; i++) {
    state = state * 1664525 + 1013904223;
    unsigned slot = state >> 26;
    if (slots[slot]) {
      unsigned char* c = slots[slot];
      if (c[0] != (unsigned char)sizes[slot] || c[sizes[slot] - 1] != (unsigned char)sizes[slot])
        return "damaged";
      free(slots[slot]);
    }
    sizes[slot] = 1 + (state >> 8) % (state % 100 == 0 ? 200000 : 600);
    unsigned char* c = slots[slot] = malloc(sizes[slot]);
    if (!c)
      return "no memory";
    c[0] = c[sizes[slot] - 1] = (unsigned char)sizes[slot];
  }
  for (int i = 0; i < 64; i++)
    free(slots[i]);
  return NULL;
}

static unsigned long free_memory(void) {
  struct sysinfo info;
  sysinfo(&info);
  return info.freeram * info.mem_unit;
}

static void allocating(void) {
  volatile size_t many = 1ul << 40;
  ok(malloc(1ul << 62) == NULL && errno == ENOMEM && !calloc(many, many),
     "malloc: impossible sizes");
  unsigned long before = free_memory();
  static char* blocks[20000];
  for (int i = 0; i < 20000; i++)
    memset(blocks[i] = malloc(1000), 1, 1000);
  unsigned long during = free_memory();
  for (int i = 0; i < 20000; i++)
    free(blocks[i]);
  unsigned long after = free_memory();
  ok(before - during > 19 * MB && before - during < 22 * MB, "20 MB of blocks cost 20 MB");
  ok(before - after < MB, "and are given back");
  char* big = malloc(3 * MB);
  memset(big, 3, 3 * MB);
  big = realloc(big, 9 * MB);
  ok(big && big[3 * MB - 1] == 3 && malloc_usable_size(big) >= 9 * MB,
     "realloc of something large");
  free(big);
  pthread_t threads[4];
  int good = 1;
  for (int round = 0; round < 3; round++) {
    for (long i = 0; i < 4; i++)
      pthread_create(&threads[i], NULL, churn, (void*)(i + round * 4 + 1));
    for (int i = 0; i < 4; i++) {
      void* complaint;
      pthread_join(threads[i], &complaint);
      good = good && !complaint;
    }
  }
  ok(good, "four threads at once");
  ok(before - free_memory() < 2 * MB, "leave nothing behind");
}

int main(void) {
  catch_faults();
  faults();
  mapping_errors();
  mapping();
  large_and_moving();
  file_mapping();
  breaking();
  bad_pointers_to_calls();
  allocating();
  return finish_counted();
}
