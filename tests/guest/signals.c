// mem: 32
/* Signals: sending, masks, queueing, handlers and their options, faults, interrupted calls, waiting
 * for signals, and what a damaged signal frame does. */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "tap.h"

static volatile sig_atomic_t runs, last_signal, last_code;
static volatile pid_t last_pid;
static union sigval last_value;
static siginfo_t last_info;

static void count(int signo) {
  runs++;
  last_signal = signo;
}

static void take_info(int signo, siginfo_t* info, void* context) {
  (void)context;
  runs++;
  last_signal = signo;
  last_code = info->si_code;
  last_pid = info->si_pid;
  last_value = info->si_value;
  last_info = *info;
}

static void handle(int signo, void (*f)(int), int flags) {
  struct sigaction sa = {.sa_handler = f, .sa_flags = flags};
  sigaction(signo, &sa, NULL);
}

static void handle_info(int signo, void (*f)(int, siginfo_t*, void*), int flags) {
  struct sigaction sa = {.sa_sigaction = f, .sa_flags = flags | SA_SIGINFO};
  sigaction(signo, &sa, NULL);
}

static sigset_t only(int signo) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signo);
  return set;
}

static long now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void sleep_ms(long ms) {
  struct timespec t = {ms / 1000, ms % 1000 * 1000000};
  while (nanosleep(&t, &t) && errno == EINTR)
    ;
}

/* --- sending --- */

static void sending(void) {
  handle(SIGUSR1, count, 0);
  runs = 0;
  raise(SIGUSR1);
  ok(runs == 1 && last_signal == SIGUSR1, "raise runs the handler before it returns");
  kill(getpid(), SIGUSR1);
  ok(runs == 2, "so does kill to oneself");
  ok(kill(4711, SIGUSR1) == -1 && errno == ESRCH, "kill of a process that is not there");
  ok(kill(getpid(), 0) == 0 && runs == 2, "signal 0 only asks");
  ok(kill(getpid(), 65) == -1 && errno == EINVAL, "there is no signal 65");

  handle_info(SIGUSR2, take_info, 0);
  kill(getpid(), SIGUSR2);
  ok(last_signal == SIGUSR2 && last_code == SI_USER && last_pid == getpid(),
     "siginfo says who sent it");
  raise(SIGUSR2);
  ok(last_code == SI_TKILL, "and how");

  handle(SIGUSR1, SIG_IGN, 0);
  runs = 0;
  raise(SIGUSR1);
  raise(SIGCHLD);
  raise(SIGWINCH);
  raise(SIGCONT);
  ok(runs == 0, "ignored signals do nothing, by choice or by default");
  struct sigaction sa = {.sa_handler = count};
  ok(sigaction(SIGKILL, &sa, NULL) == -1 && errno == EINVAL, "SIGKILL cannot be handled");
  struct sigaction old;
  sigaction(SIGUSR2, NULL, &old);
  ok(old.sa_sigaction == take_info && old.sa_flags & SA_SIGINFO, "sigaction tells the old action");
}

/* --- masks and queues --- */

static int order[10], ordered;

static void note_value(int signo, siginfo_t* info, void* context) {
  (void)signo;
  (void)context;
  if (ordered < 10)
    order[ordered++] = info->si_value.sival_int;
}

static void masks(void) {
  sigset_t set = only(SIGUSR1), old, pending;
  handle(SIGUSR1, count, 0);
  runs = 0;
  sigprocmask(SIG_BLOCK, &set, &old);
  ok(!sigismember(&old, SIGUSR1), "the old mask is told");
  raise(SIGUSR1);
  raise(SIGUSR1);
  sigpending(&pending);
  ok(runs == 0 && sigismember(&pending, SIGUSR1), "a blocked signal is pending");
  sigprocmask(SIG_UNBLOCK, &set, NULL);
  ok(runs == 1, "a standard signal is pending once, and delivered by unblocking");
  sigpending(&pending);
  ok(!sigismember(&pending, SIGUSR1), "then it is no longer pending");

  handle_info(SIGRTMIN, note_value, 0);
  handle_info(SIGRTMIN + 1, note_value, 0);
  set = only(SIGRTMIN);
  sigaddset(&set, SIGRTMIN + 1);
  sigprocmask(SIG_BLOCK, &set, NULL);
  for (int i = 0; i < 3; i++)
    sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = 10 + i});
  for (int i = 0; i < 3; i++)
    sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = i});
  sigprocmask(SIG_UNBLOCK, &set, NULL);
  /* Both handlers are entered at once, the lowest number outermost: nested frames run the last
   * one first, as on Linux; within one number the order is first in, first out. */
  ok(ordered == 6, "real-time signals queue, every one");
  int low = 0, high = 10, good = 1;
  for (int i = 0; i < ordered; i++)
    good &= order[i] < 10 ? order[i] == low++ : order[i] == high++;
  ok(good && low == 3 && high == 13, "in the order they were sent, with their values");

  set = only(SIGKILL);
  sigprocmask(SIG_BLOCK, &set, NULL);
  sigprocmask(SIG_BLOCK, NULL, &old);
  ok(!sigismember(&old, SIGKILL), "SIGKILL cannot be blocked");

  set = only(SIGUSR1);
  sigprocmask(SIG_BLOCK, &set, NULL);
  raise(SIGUSR1);
  handle(SIGUSR1, SIG_IGN, 0);
  sigpending(&pending);
  ok(!sigismember(&pending, SIGUSR1), "ignoring a signal throws pending ones away");
  sigprocmask(SIG_UNBLOCK, &set, NULL);
}

/* --- options of handlers --- */

static int depth, deepest;

static void nest(int signo) {
  if (++depth > deepest)
    deepest = depth;
  if (runs++ == 0)
    raise(signo);
  depth--;
}

static sigset_t mask_inside;

static void look_at_mask(int signo) {
  (void)signo;
  sigprocmask(SIG_BLOCK, NULL, &mask_inside);
}

static stack_t alternate;
static volatile int on_alternate;

static void look_at_stack(int signo) {
  (void)signo;
  char here;
  on_alternate =
      &here > (char*)alternate.ss_sp && &here < (char*)alternate.ss_sp + alternate.ss_size;
  stack_t s;
  sigaltstack(NULL, &s);
  if (!(s.ss_flags & SS_ONSTACK))
    on_alternate = 0;
  if (sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, NULL) != -1 || errno != EPERM)
    on_alternate = 0;
}

static void options(void) {
  handle(SIGUSR1, nest, 0);
  runs = depth = deepest = 0;
  raise(SIGUSR1);
  ok(runs == 2 && deepest == 1, "a signal is blocked while its handler runs");
  handle(SIGUSR1, nest, SA_NODEFER);
  runs = depth = deepest = 0;
  raise(SIGUSR1);
  ok(runs == 2 && deepest == 2, "but not with SA_NODEFER");

  handle(SIGUSR1, count, SA_RESETHAND);
  raise(SIGUSR1);
  struct sigaction sa;
  sigaction(SIGUSR1, NULL, &sa);
  ok(sa.sa_handler == SIG_DFL, "SA_RESETHAND resets the handler");

  sa = (struct sigaction){.sa_handler = look_at_mask};
  sigaddset(&sa.sa_mask, SIGTERM);
  sigaction(SIGUSR1, &sa, NULL);
  raise(SIGUSR1);
  sigset_t after;
  sigprocmask(SIG_BLOCK, NULL, &after);
  ok(sigismember(&mask_inside, SIGTERM) && sigismember(&mask_inside, SIGUSR1) &&
         !sigismember(&after, SIGTERM) && !sigismember(&after, SIGUSR1),
     "sa_mask holds during the handler only");

  alternate.ss_size = SIGSTKSZ;
  alternate.ss_sp = malloc(SIGSTKSZ);
  sigaltstack(&alternate, NULL);
  handle(SIGUSR1, look_at_stack, SA_ONSTACK);
  raise(SIGUSR1);
  ok(on_alternate, "SA_ONSTACK handlers run on the alternate stack");
  handle(SIGUSR1, look_at_stack, 0);
  on_alternate = 2;
  raise(SIGUSR1);
  ok(on_alternate == 0, "others do not");
}

/* --- registers --- */

static void disturb(int signo) {
  (void)signo;
  runs++;
  /* Everything a handler may use. */
  volatile double x = 3.5;
  for (int i = 0; i < 10; i++)
    x = x * x / (x + 1);
  __asm__ volatile("xorps %%xmm0,%%xmm0; xorps %%xmm7,%%xmm7; xorps %%xmm15,%%xmm15; std; cld" ::
                       : "xmm0", "xmm7", "xmm15");
}

static void registers(void) {
  handle(SIGALRM, disturb, 0);
  struct itimerval every = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
  runs = 0;
  setitimer(ITIMER_REAL, &every, NULL);
  int good = 1;
  long end = now_ms() + 300;
  while (now_ms() < end) {
    double a = 1.25, b = 2.5, sum = 0;
    uint64_t hash = 1469598103934665603u;
    for (int i = 0; i < 2000; i++) {
      sum += a * b;
      hash = (hash ^ (uint64_t)i) * 1099511628211u;
    }
    static uint64_t first;
    if (!first)
      first = hash;
    good &= sum == 2000 * 3.125 && hash == first;
  }
  setitimer(ITIMER_REAL, &never, NULL);
  ok(runs > 5, "an interval timer interrupts a computation again and again");
  ok(good, "and every register comes back");
}

/* --- faults --- */

static sigjmp_buf escape;
static void* volatile fault_address;
static volatile int fault_code;

static void escape_fault(int signo, siginfo_t* info, void* context) {
  (void)context;
  last_signal = signo;
  fault_address = info->si_addr;
  fault_code = info->si_code;
  siglongjmp(escape, 1);
}

static void skip_instruction(int signo, siginfo_t* info, void* context) {
  (void)info;
  ucontext_t* uc = context;
  last_signal = signo;
  uc->uc_mcontext.gregs[REG_RIP] += 2;
  uc->uc_mcontext.gregs[REG_RAX] = 1234;
}

static volatile int zero;

static int overflow(int n) {
  volatile char block[4096];
  block[0] = (char)n;
  return overflow(n + 1) + block[0];
}

static void faults(void) {
  handle_info(SIGSEGV, escape_fault, SA_ONSTACK);
  handle_info(SIGBUS, escape_fault, 0);
  handle_info(SIGFPE, escape_fault, 0);
  int* nowhere = (int*)(uintptr_t)0x123456000;
  if (!sigsetjmp(escape, 1))
    *nowhere = 1;
  ok(last_signal == SIGSEGV && fault_address == nowhere && fault_code == SEGV_MAPERR,
     "SIGSEGV with the address, left by siglongjmp");
  sigset_t now;
  sigprocmask(SIG_BLOCK, NULL, &now);
  ok(!sigismember(&now, SIGSEGV), "siglongjmp puts the mask back");
  last_signal = 0;
  if (!sigsetjmp(escape, 1))
    *nowhere = 1;
  ok(last_signal == SIGSEGV, "and it works a second time");
  char* page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  fault_code = 0;
  if (!sigsetjmp(escape, 1))
    page[5] = 1;
  ok(fault_address == page + 5 && fault_code == SEGV_ACCERR, "writing to a read-only page");
  if (!sigsetjmp(escape, 1))
    zero = 100 / zero;
  ok(last_signal == SIGFPE && fault_code == FPE_INTDIV, "dividing by zero is SIGFPE");
  last_signal = 0;
  if (!sigsetjmp(escape, 1))
    zero = overflow(0);
  ok(last_signal == SIGSEGV, "a stack overflow is handled on the alternate stack");

  handle_info(SIGILL, skip_instruction, 0);
  long rax = 0;
  __asm__ volatile("ud2" : "=a"(rax) : "0"(rax));
  ok(last_signal == SIGILL && rax == 1234, "a handler may change registers and go on");
  handle(SIGTRAP, count, 0);
  runs = 0;
  __asm__ volatile("int3");
  ok(runs == 1, "int3 is SIGTRAP");
  ok(write(1, nowhere, 10) == -1 && errno == EFAULT,
     "a bad pointer in a call is EFAULT, no signal");
}

/* --- interrupted calls --- */

static void* interrupt_later(void* p) {
  sleep_ms(30);
  pthread_kill(*(pthread_t*)p, SIGUSR1);
  return p;
}

static void* write_later(void* p) {
  sleep_ms(60);
  if (write(*(int*)p, "x", 1) != 1)
    runs = -100;
  return p;
}

static void interrupted_calls(void) {
  pthread_t self = pthread_self(), t, writer;
  int ends[2];
  char c = 0;
  if (pipe(ends))
    ok(0, "pipe");
  handle(SIGUSR1, count, 0);
  runs = 0;
  pthread_create(&t, NULL, interrupt_later, &self);
  ssize_t n = read(ends[0], &c, 1);
  int e = errno;
  pthread_join(t, NULL);
  ok(n == -1 && e == EINTR && runs == 1, "a handler without SA_RESTART ends a read with EINTR");

  handle(SIGUSR1, count, SA_RESTART);
  runs = 0;
  pthread_create(&t, NULL, interrupt_later, &self);
  pthread_create(&writer, NULL, write_later, &ends[1]);
  n = read(ends[0], &c, 1);
  pthread_join(t, NULL);
  pthread_join(writer, NULL);
  ok(n == 1 && c == 'x' && runs == 1, "with SA_RESTART it goes on");

  runs = 0;
  pthread_create(&t, NULL, interrupt_later, &self);
  struct timespec span = {0, 200000000}, left = {0, 0};
  int r = nanosleep(&span, &left);
  e = errno;
  pthread_join(t, NULL);
  long left_ms = left.tv_nsec / 1000000;
  ok(r == -1 && e == EINTR && runs == 1 && left_ms > 50 && left_ms < 190,
     "nanosleep is interrupted even so, and tells what was left");

  handle(SIGUSR1, SIG_IGN, 0);
  pthread_create(&t, NULL, interrupt_later, &self);
  long begin = now_ms();
  span.tv_nsec = 80000000;
  r = nanosleep(&span, NULL);
  pthread_join(t, NULL);
  ok(r == 0 && now_ms() - begin >= 79, "an ignored signal interrupts nothing");

  handle(SIGALRM, count, 0);
  runs = 0;
  alarm(1);
  begin = now_ms();
  pause();
  ok(runs == 1 && now_ms() - begin < 10000, "alarm ends pause");
}

/* --- waiting for signals --- */

static void* send_usr2(void* p) {
  sleep_ms(20);
  kill(getpid(), SIGUSR2);
  return p;
}

static void waiting(void) {
  sigset_t set = only(SIGUSR2), none;
  siginfo_t info;
  struct timespec span = {0, 20000000};
  sigemptyset(&none);
  sigprocmask(SIG_BLOCK, &set, NULL);
  int r = sigtimedwait(&set, &info, &span);
  ok(r == -1 && errno == EAGAIN, "sigtimedwait gives up");
  sigqueue(getpid(), SIGUSR2, (union sigval){.sival_int = 77});
  r = sigtimedwait(&set, &info, &span);
  ok(r == SIGUSR2 && info.si_value.sival_int == 77 && info.si_code == SI_QUEUE,
     "sigtimedwait takes a pending signal with its value");
  pthread_t t;
  pthread_create(&t, NULL, send_usr2, NULL);
  int signo = 0;
  r = sigwait(&set, &signo);
  pthread_join(t, NULL);
  ok(r == 0 && signo == SIGUSR2, "sigwait waits for one from another thread");

  handle(SIGUSR2, count, SA_RESTART);
  runs = 0;
  raise(SIGUSR2);
  r = sigsuspend(&none);
  sigset_t now;
  sigprocmask(SIG_BLOCK, NULL, &now);
  ok(r == -1 && errno == EINTR && runs == 1 && sigismember(&now, SIGUSR2),
     "sigsuspend lets a signal in and puts the mask back");
  sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static void signal_descriptor(void) {
  sigset_t set = only(SIGUSR2);
  sigprocmask(SIG_BLOCK, &set, NULL);
  int fd = signalfd(-1, &set, SFD_NONBLOCK);
  struct signalfd_siginfo s[2];
  struct pollfd p = {fd, POLLIN, 0};
  ok(fd >= 0 && read(fd, s, sizeof s) == -1 && errno == EAGAIN, "a signalfd without signals");
  sigqueue(getpid(), SIGUSR2, (union sigval){.sival_int = 99});
  ok(poll(&p, 1, 0) == 1 && p.revents == POLLIN, "becomes readable");
  ok(read(fd, s, sizeof s) == sizeof s[0] && s[0].ssi_signo == SIGUSR2 && s[0].ssi_int == 99 &&
         s[0].ssi_pid == (uint32_t)getpid(),
     "and gives the signal with its value");
  pthread_t t;
  pthread_create(&t, NULL, send_usr2, NULL);
  ok(poll(&p, 1, 2000) == 1, "poll waits for one");
  pthread_join(t, NULL);
  ok(read(fd, s, sizeof s) == sizeof s[0], "which is read");
  close(fd);
  sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static void mask_of_one_call(void) {
  sigset_t set = only(SIGUSR2), none, now;
  struct timespec span = {2, 0};
  sigemptyset(&none);
  handle(SIGUSR2, count, SA_RESTART);
  sigprocmask(SIG_BLOCK, &set, NULL);
  runs = 0;
  pthread_t t;
  pthread_create(&t, NULL, send_usr2, NULL);
  long begin = now_ms();
  int r = ppoll(NULL, 0, &span, &none), e = errno;
  pthread_join(t, NULL);
  sigprocmask(SIG_BLOCK, NULL, &now);
  ok(r == -1 && e == EINTR && runs == 1 && now_ms() - begin < 1900, "ppoll lets a signal in");
  ok(sigismember(&now, SIGUSR2), "and puts the mask back");
  span = (struct timespec){0, 1000000};
  r = pselect(0, NULL, NULL, NULL, &span, &none);
  sigprocmask(SIG_BLOCK, NULL, &now);
  ok(r == 0 && sigismember(&now, SIGUSR2), "also if none came");
  sigprocmask(SIG_UNBLOCK, &set, NULL);
}

/* --- threads --- */

static volatile pthread_t handler_thread;

static void note_thread(int signo) {
  (void)signo;
  handler_thread = pthread_self();
  runs++;
}

static volatile int spinning, stop;

static void* spin(void* p) {
  spinning = 1;
  while (!stop)
    ;
  return p;
}

static void threads(void) {
  pthread_t t;
  sigset_t set = only(SIGUSR1);
  handle(SIGUSR1, note_thread, SA_RESTART);
  runs = stop = spinning = 0;
  pthread_create(&t, NULL, spin, NULL);
  while (!spinning)
    sched_yield();
  pthread_kill(t, SIGUSR1);
  long end = now_ms() + 2000;
  while (!runs && now_ms() < end)
    sched_yield();
  ok(runs == 1 && pthread_equal(handler_thread, t), "a thread that spins handles its signal");
  sigprocmask(SIG_BLOCK, &set, NULL);
  kill(getpid(), SIGUSR1);
  while (runs < 2 && now_ms() < end)
    sched_yield();
  ok(runs == 2 && pthread_equal(handler_thread, t),
     "a process signal goes to a thread that does not block it");
  stop = 1;
  pthread_join(t, NULL);
  kill(getpid(), SIGUSR1);
  sigprocmask(SIG_UNBLOCK, &set, NULL);
  ok(runs == 3 && pthread_equal(handler_thread, pthread_self()),
     "if all block it, the first that unblocks it takes it");
  ok(syscall(SYS_tkill, 999, SIGUSR1) == -1 && errno == ESRCH, "tkill of no thread");
}

/* --- damaged frames --- */

static volatile int damage;

static void damage_frame(int signo, siginfo_t* info, void* context) {
  (void)signo;
  (void)info;
  ucontext_t* uc = context;
  switch (damage) {
  case 0:
    uc->uc_mcontext.gregs[REG_RIP] = (greg_t)0xffffffff80000000;
    break;
  case 1:
    uc->uc_mcontext.gregs[REG_RIP] = 0x4141414141414141;
    break;
  case 2:
    uc->uc_mcontext.gregs[REG_RSP] = (greg_t)0xdeadbeefdeadbeef;
    break;
  case 3:
    uc->uc_mcontext.gregs[REG_RIP] = 0x77777000;
    break;
  case 4:
    uc->uc_mcontext.fpregs = (void*)0x3;
    break;
  }
}

static void harmless_damage(int signo, siginfo_t* info, void* context) {
  (void)signo;
  (void)info;
  ucontext_t* uc = context;
  uc->uc_mcontext.gregs[REG_EFL] = ~(greg_t)0x400; /* all but the direction flag, which is ours */
  uc->uc_mcontext.gregs[REG_CSGSFS] = -1;
  uc->uc_mcontext.fpregs->mxcsr = ~0u;
  int extended = uc->uc_flags & 1; /* a header of 64 bytes follows the first 512 */
  memset((char*)uc->uc_mcontext.fpregs + 464, 0xff, extended ? 112 : 48);
}

static void damaged_frames(void) {
  static const char* what[] = {"a kernel address to return to", "a non-canonical one",
                               "a non-canonical stack", "an address with nothing there",
                               "vector registers from nowhere"};
  handle_info(SIGSEGV, escape_fault, SA_ONSTACK);
  handle_info(SIGUSR1, damage_frame, 0);
  for (damage = 0; damage < 5; damage++) {
    char text[100];
    last_signal = 0;
    if (!sigsetjmp(escape, 1))
      raise(SIGUSR1);
    snprintf(text, sizeof text, "%s in a signal frame is SIGSEGV", what[damage]);
    ok(last_signal == SIGSEGV, text);
  }
  handle_info(SIGUSR1, harmless_damage, 0);
  raise(SIGUSR1);
  unsigned control = 0x1f80;
  __asm__ volatile("ldmxcsr %0" ::"m"(control));
  ok(1, "flags, selectors and control bits of a frame are checked");
  handle(SIGUSR1, count, 0);
  runs = 0;
  raise(SIGUSR1);
  ok(runs == 1, "signals work after all that");
}

int main(void) {
  plan(63);
  sending();
  masks();
  options();
  registers();
  faults();
  interrupted_calls();
  waiting();
  signal_descriptor();
  mask_of_one_call();
  threads();
  damaged_frames();
  return finish();
}
