// mem: 32
/* A program that leaves the processor in a state no compiled code leaves it in: flags, stack
 * pointer, x87 exceptions, jumps to nowhere. At worst that is a signal for the program; the kernel
 * goes on. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/times.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "tap.h"

enum flag {
  trap = 1 << 8,
  direction = 1 << 10,
  io_level = 3 << 12,
  nested = 1 << 14,
  alignment = 1 << 18
};

/* call_with_flags(f, flags): f() with these flags added; all are cleared behind it.
 * call_on_stack(f, rsp): f() on that stack.
 * jump_on_stack(f, rsp): jumps to f; what f returns to is what lies there.
 * step_into(f): the trap flag set by the instruction before the call. */
__asm__(".text\n"
        "call_with_flags:\n"
        "  push %rbx\n"
        "  pushfq\n  or %rsi, (%rsp)\n  popfq\n"
        "  call *%rdi\n"
        "  pushq $0x202\n  popfq\n"
        "  pop %rbx\n"
        "  ret\n"
        "call_on_stack:\n"
        "  push %rbx\n"
        "  mov %rsp, %rbx\n"
        "  mov %rsi, %rsp\n"
        "  call *%rdi\n"
        "  mov %rbx, %rsp\n"
        "  pop %rbx\n"
        "  ret\n"
        "jump_on_stack:\n"
        "  mov %rsi, %rsp\n"
        "  jmp *%rdi\n"
        "step_into:\n"
        "  sub $8, %rsp\n"
        "  pushfq\n  orq $0x100, (%rsp)\n  popfq\n"
        "  call *%rdi\n"
        "  pushq $0x202\n  popfq\n"
        "  add $8, %rsp\n"
        "  ret\n");
void call_with_flags(void (*)(void), unsigned long flags);
void call_on_stack(void (*)(void), uintptr_t rsp);
void jump_on_stack(void (*)(void), uintptr_t rsp);
void step_into(void (*)(void));
/* The kernel's side of a call, which is too far for what the compiler makes of its name. */
#define CALL(name)                                                                                 \
  ({                                                                                               \
    void (*address)(void);                                                                         \
    __asm__("movabs $sys_" #name ", %0" : "=r"(address));                                          \
    address;                                                                                       \
  })

static volatile sig_atomic_t runs, flags_in_handler;
static sigjmp_buf escape;
static volatile int last_signal;

static void on_signal(int signo, void (*handler)(int, siginfo_t*, void*)) {
  struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  sigaction(signo, &sa, NULL);
}

static void count(int signo, siginfo_t* info, void* context) {
  (void)signo, (void)info, (void)context;
  unsigned long flags;
  __asm__ volatile("sub $128, %%rsp\n pushfq\n pop %0\n add $128, %%rsp" : "=r"(flags));
  flags_in_handler = (int)flags & (trap | direction | io_level | nested | alignment);
  runs++;
}

static void leave(int signo, siginfo_t* info, void* context) {
  (void)info, (void)context;
  last_signal = signo;
  siglongjmp(escape, 1);
}

static int survives(void (*f)(void (*)(void), uintptr_t), void (*target)(void), uintptr_t rsp) {
  last_signal = 0;
  if (!sigsetjmp(escape, 1))
    f(target, rsp);
  return last_signal;
}

/* --- flags --- */

static char before[4096], buffer[8192], after[4096];
static int zero, pipes[2];
static long moved;

static void read_zeros(void) {
  moved = read(zero, buffer, 5000);
}
static void through_a_pipe(void) {
  moved = write(pipes[1], after, 3000);
  moved += read(pipes[0], buffer, 4096);
}
static void send_signal(void) {
  raise(SIGUSR1);
}
static void sleep_a_little(void) {
  struct timespec t = {0, 1000000};
  nanosleep(&t, NULL);
}
static void ask_clocks(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  moved = clock_gettime(CLOCK_MONOTONIC, &t);
}

static int all_are(const char* p, size_t n, char c) {
  for (size_t i = 0; i < n; i++)
    if (p[i] != c)
      return 0;
  return 1;
}

static void garble_flags(int signo, siginfo_t* info, void* context) {
  (void)signo, (void)info;
  ucontext_t* uc = context;
  uc->uc_mcontext.gregs[REG_EFL] = -1;
  uc->uc_mcontext.gregs[REG_CSGSFS] = 0xffff;
}

static void flags(void) {
  zero = open("/dev/zero", O_RDONLY);
  if (pipe(pipes))
    return;
  memset(before, 'b', sizeof before);
  memset(buffer, 'x', sizeof buffer);
  memset(after, 'a', sizeof after);
  call_with_flags(read_zeros, direction);
  ok(moved == 5000 && all_are(buffer, 5000, 0) && all_are(buffer + 5000, sizeof buffer - 5000, 'x'),
     "the direction flag left set: a read fills its buffer");
  ok(all_are(before, sizeof before, 'b') && all_are(after, sizeof after, 'a'), "and nothing else");
  call_with_flags(through_a_pipe, direction);
  ok(moved == 6000 && all_are(buffer, 3000, 'a') && all_are(buffer + 3000, 2000, 0),
     "a pipe carries what it was given");
  call_with_flags(ask_clocks, direction);
  ok(moved == 0, "clocks are read");
  on_signal(SIGUSR1, count);
  call_with_flags(send_signal, direction | io_level | nested | alignment);
  ok(runs == 1 && flags_in_handler == 0, "a handler begins with all flags clear");
  on_signal(SIGUSR1, garble_flags);
  call_with_flags(send_signal, 0);
  on_signal(SIGUSR1, count);
  raise(SIGUSR1);
  ok(runs == 2, "a signal frame whose flags are all set does no harm");
}

static volatile int stop;

static void* compute(void* p) {
  while (!stop)
    ;
  return p;
}

static void nested_task(void) {
  pthread_t thread;
  pthread_create(&thread, NULL, compute, NULL);
  for (int i = 0; i < 30; i++)
    call_with_flags(sleep_a_little, nested | alignment);
  stop = 1;
  pthread_join(thread, NULL);
  ok(1, "one thread's nested-task flag is not another's");
}

static void single_step(void) {
  on_signal(SIGTRAP, count);
  step_into(CALL(getppid));
  step_into(CALL(sched_yield));
  ok(1, "the trap flag does not follow into the kernel");
}

static void x87_exception(void) {
  const unsigned short divide_unmasked = 0x37b, all_masked = 0x37f;
  __asm__ volatile("fldcw %0\n fld1\n fldz\n fdivrp" ::"m"(divide_unmasked));
  sleep_a_little();
  __asm__ volatile("fnclex\n fldcw %0\n fninit" ::"m"(all_masked));
  ok(1, "a pending x87 exception does not strike in the kernel's switch");
}

/* --- jumps to nowhere --- */

static void call_it(void (*f)(void), uintptr_t unused) {
  (void)unused;
  f();
}

static void jumps(void) {
  static const uintptr_t targets[] = {1,
                                      0x600000000000,
                                      0x8000000000000000,
                                      0xffff800000200000,
                                      0xffffc00000000000,
                                      0xffffffffbffff000,
                                      ~(uintptr_t)7};
  for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
    char text[80];
    snprintf(text, sizeof text, "a jump to 0x%lx is SIGSEGV", (unsigned long)targets[i]);
    ok(survives(call_it, (void (*)(void))targets[i], 0) == SIGSEGV, text);
  }
}

/* --- stacks --- */

static void bad_stacks(void) {
  static const uintptr_t stacks[] = {8, 0x600000000000, 0x7ffffffffff8, 0x8000000000000000};
  for (size_t i = 0; i < sizeof stacks / sizeof stacks[0]; i++) {
    char text[80];
    const int leaf = survives(jump_on_stack, CALL(getppid), stacks[i]);
    const int stub = survives(jump_on_stack, CALL(sched_yield), stacks[i]);
    snprintf(text, sizeof text, "a call that returns by a stack at 0x%lx is a signal",
             (unsigned long)stacks[i]);
    ok((leaf == SIGSEGV || leaf == SIGBUS) && (stub == SIGSEGV || stub == SIGBUS), text);
  }
}

static void send_signal_to_self(void) {
  raise(SIGUSR1);
}

/* Leaves through a garbled return address with a signal to be handled first. */
static void garbled_return(void) {
  static uintptr_t stack[512];
  sigset_t set, old;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  for (int pending = 0; pending < 2; pending++) {
    for (int i = 0; i < 512; i++)
      stack[i] = 0x8000000000000000;
    if (pending) {
      sigprocmask(SIG_BLOCK, &set, &old);
      send_signal_to_self();
    }
    last_signal = 0;
    runs = 0;
    if (!sigsetjmp(escape, 1)) {
      if (pending) { /* delivered by the next call's boundary, which is the garbled one */
        __asm__ volatile("mov %5, %%rsp\n jmp *%0" ::"r"(CALL(rt_sigprocmask)), "D"(SIG_SETMASK),
                         "S"(&old), "d"(0L), "c"(8L), "r"(stack + 500));
      }
      jump_on_stack(CALL(sched_yield), (uintptr_t)(stack + 500));
    }
    ok(last_signal == SIGSEGV && runs == pending,
       pending ? "likewise with a signal that is handled on the way"
               : "a garbled return address of a call is SIGSEGV");
  }
  sigprocmask(SIG_SETMASK, &old, NULL);
}

/* Calls that are short, each for itself: a deep one would touch the stack for the others. Those for
 * number 77 have to look for that thread. */
static void process_clock(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
}
static void thread_clock(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
}
static void monotonic_clock(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
}
static void tick_count(void) {
  struct tms t;
  times(&t);
}
static void parameters(void) {
  struct sched_param p;
  syscall(SYS_sched_getparam, 77, &p);
}
static void niceness(void) {
  getpriority(PRIO_PROCESS, 77);
}
static void robust_mutexes(void) {
  void* list;
  size_t size;
  syscall(SYS_get_robust_list, 77, &list, &size);
}
static void parent(void) {
  getppid();
}
static void (*const short_calls[])(void) = {process_clock,  thread_clock, monotonic_clock,
                                            tick_count,     parameters,   niceness,
                                            robust_mutexes, parent};

/* Every call on a stack that crosses into the page below `boundary` at any depth of the call;
 * before each the page has never been touched. */
static int every_depth(char* below, char* boundary, int (*check)(void (*)(void), uintptr_t)) {
  int good = 1;
  for (size_t i = 0; i < sizeof short_calls / sizeof short_calls[0]; i++)
    for (uintptr_t depth = 16; depth < 400; depth += 8) {
      madvise(below, (size_t)(boundary - below), MADV_DONTNEED);
      good &= check(short_calls[i], (uintptr_t)boundary + depth);
    }
  return good;
}

static int works(void (*f)(void), uintptr_t rsp) {
  call_on_stack(f, rsp);
  return 1;
}
static int works_or_signals(void (*f)(void), uintptr_t rsp) {
  const int signo = survives(call_on_stack, f, rsp);
  return signo == SIGSEGV || signo == 0;
}

static void stacks_that_grow_and_end(void) {
  enum { page = 4096 };
  char* area = mmap(NULL, 64 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char* boundary = area + 32 * page;
  ok(every_depth(area, boundary, works), "calls on stacks that grow as they are touched");
  mprotect(area, 32 * page, PROT_NONE);
  ok(every_depth(area, boundary, works_or_signals), "calls on stacks that end at any depth");
  munmap(area, 64 * page);
}

int main(void) {
  plan(24);
  stack_t alternate = {.ss_sp = malloc(65536), .ss_size = 65536};
  sigaltstack(&alternate, NULL);
  flags();
  nested_task();
  single_step();
  x87_exception();
  on_signal(SIGSEGV, leave);
  on_signal(SIGBUS, leave);
  jumps();
  bad_stacks();
  garbled_return();
  stacks_that_grow_and_end();
  return finish();
}
