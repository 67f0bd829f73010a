// mem: 32
/* The futex call itself, beyond what pthreads use of it. */
#define _GNU_SOURCE
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tap.h"

enum {
  WAIT = 0,
  WAKE = 1,
  REQUEUE = 3,
  CMP_REQUEUE = 4,
  WAKE_OP = 5,
  LOCK_PI = 6,
  WAIT_BITSET = 9,
  WAKE_BITSET = 10,
  PRIVATE = 128,
  REALTIME = 256,
};

static long futex(void* word, int op, int value, const void* timeout, void* word2, int value3) {
  return syscall(SYS_futex, word, op, value, timeout, word2, value3);
}

static const void* count2(long n) {
  return (const void*)n;
}

static void sleep_ms(long ms) {
  struct timespec t = {ms / 1000, ms % 1000 * 1000000};
  nanosleep(&t, NULL);
}

static atomic_int words[4], waiting, woken, bits_woken;

static void* wait_on_first(void* p) {
  waiting++;
  while (futex(&words[0], WAIT | PRIVATE, 0, NULL, NULL, 0) == -1 && errno == EINTR)
    ;
  woken++;
  return p;
}

static void* wait_for_bit(void* p) {
  waiting++;
  futex(&words[1], WAIT_BITSET | PRIVATE, 0, NULL, NULL, (int)(intptr_t)p);
  atomic_fetch_or(&bits_woken, (int)(intptr_t)p);
  return p;
}

static void start(pthread_t* t, int n, void* (*body)(void*)) {
  waiting = woken = 0;
  for (int i = 0; i < n; i++)
    pthread_create(&t[i], NULL, body, (void*)(intptr_t)(1 << i));
  while (waiting < n)
    sched_yield();
  sleep_ms(10);
}

static void settle(atomic_int* what, int value) {
  for (int i = 0; i < 1000 && *what != value; i++)
    sleep_ms(1);
}

static void join(pthread_t* t, int n) {
  for (int i = 0; i < n; i++)
    pthread_join(t[i], NULL);
}

static void errors(void) {
  ok(futex(&words[0], WAIT, 1, NULL, NULL, 0) == -1 && errno == EAGAIN, "another value is EAGAIN");
  ok(futex((char*)&words[0] + 1, WAIT, 0, NULL, NULL, 0) == -1 && errno == EINVAL,
     "a word must be aligned");
  ok(futex((void*)0x7000000000, WAIT, 0, NULL, NULL, 0) == -1 && errno == EFAULT,
     "and must be there");
  ok(futex((void*)-4096L, WAKE, 1, NULL, NULL, 0) == -1 && errno == EFAULT,
     "the kernel's memory has no futexes");
  struct timespec t = {0, 1000000000};
  ok(futex(&words[0], WAIT, 0, &t, NULL, 0) == -1 && errno == EINVAL, "a bad timeout");
  ok(futex(&words[0], LOCK_PI, 0, NULL, NULL, 0) == -1 && errno == ENOSYS, "no PI futexes");
  t = (struct timespec){0, 20000000};
  ok(futex(&words[0], WAIT, 0, &t, NULL, 0) == -1 && errno == ETIMEDOUT, "a timeout");
  clock_gettime(CLOCK_REALTIME, &t);
  ok(futex(&words[0], WAIT_BITSET | REALTIME, 0, &t, NULL, -1) == -1 && errno == ETIMEDOUT,
     "a moment of the wall clock");
  ok(futex(&words[0], WAIT_BITSET, 0, NULL, NULL, 0) == -1 && errno == EINVAL, "an empty bit set");
}

static void waking(void) {
  pthread_t t[5];
  start(t, 5, wait_on_first);
  ok(futex(&words[1], WAKE, INT_MAX, NULL, NULL, 0) == 0, "nobody waits on another word");
  ok(futex(&words[0], WAKE, 2, NULL, NULL, 0) == 2, "as many are woken as asked for");
  settle(&woken, 2);
  sleep_ms(5);
  ok(woken == 2, "and no more");
  ok(futex(&words[0], WAKE, INT_MAX, NULL, NULL, 0) == 3, "then the rest");
  join(t, 5);

  start(t, 4, wait_for_bit);
  ok(futex(&words[1], WAKE_BITSET, INT_MAX, NULL, NULL, 5) == 2, "a bit set picks waiters");
  settle(&bits_woken, 5);
  ok(bits_woken == 5, "the right ones");
  ok(futex(&words[1], WAKE, INT_MAX, NULL, NULL, 0) == 2, "WAKE means every bit");
  join(t, 4);
}

static void requeueing(void) {
  pthread_t t[5];
  start(t, 5, wait_on_first);
  ok(futex(&words[0], CMP_REQUEUE, 1, count2(2), &words[2], 1) == -1 && errno == EAGAIN,
     "CMP_REQUEUE looks at the value");
  ok(futex(&words[0], CMP_REQUEUE, 1, count2(2), &words[2], 0) == 3, "one is woken, two are moved");
  settle(&woken, 1);
  ok(futex(&words[2], WAKE, INT_MAX, NULL, NULL, 0) == 2, "they wait on the other word now");
  ok(futex(&words[0], REQUEUE, 0, count2(INT_MAX), &words[2], 0) == 0 &&
         futex(&words[0], WAKE, INT_MAX, NULL, NULL, 0) == 0 &&
         futex(&words[2], WAKE, INT_MAX, NULL, NULL, 0) == 2,
     "REQUEUE moves all");
  join(t, 5);

  start(t, 2, wait_on_first);
  words[3] = 10;
  /* add 5, compare the old value: greater than 9 */
  int op = 1 << 28 | 4 << 24 | 5 << 12 | 9;
  ok(futex(&words[1], WAKE_OP, 1, count2(1), &words[3], op) == 0 && words[3] == 15,
     "WAKE_OP changes the second word");
  words[3] = 0;
  words[0] = 0;
  op = 0 << 28 | 0 << 24 | 7 << 12 | 0; /* set 7, old value equal 0 */
  ok(futex(&words[3], WAKE_OP, 1, count2(INT_MAX), &words[0], op) == 2 && words[0] == 7,
     "and wakes there by what it was");
  words[0] = 0;
  join(t, 2);
}

static void memory_that_comes_and_goes(void) {
  /* A page that is not there yet is brought in while the caller is in the queue already. */
  int* page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct timespec t = {0, 5000000};
  ok(futex(page, WAIT, 0, &t, NULL, 0) == -1 && errno == ETIMEDOUT, "a word on a fresh page");
  mprotect(page, 4096, PROT_READ);
  ok(futex(&words[1], WAKE_OP, 1, count2(1), page, 1 << 28 | 1 << 12) == -1 && errno == EFAULT,
     "WAKE_OP on a read-only word");
  munmap(page, 4096);
  ok(futex(page, WAIT, 0, &t, NULL, 0) == -1 && errno == EFAULT, "a word that is gone");
}

int main(void) {
  plan(25);
  errors();
  waking();
  requeueing();
  memory_that_comes_and_goes();
  return finish();
}
