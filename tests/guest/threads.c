// mem: 64
/* Threads as pthreads see them: making and joining, locks, thread-local storage, preemption,
 * cancellation, small stacks. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tap.h"

static void* return_argument(void* p) {
  return p;
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

static struct timespec in_ms(clockid_t clock, long ms) {
  struct timespec t;
  clock_gettime(clock, &t);
  t.tv_nsec += ms % 1000 * 1000000;
  t.tv_sec += ms / 1000 + t.tv_nsec / 1000000000;
  t.tv_nsec %= 1000000000;
  return t;
}

/* --- making and ending --- */

static void create_and_join(void) {
  enum { count = 3000 };
  int good = 0;
  for (int i = 0; i < count; i++) {
    pthread_t t;
    void* result = NULL;
    if (pthread_create(&t, NULL, return_argument, (void*)(intptr_t)i) == 0 &&
        pthread_join(t, &result) == 0 && result == (void*)(intptr_t)i)
      good++;
  }
  ok(good == count, "3000 threads, one after the other, return their argument");
}

static void many_at_once(void) {
  enum { count = 200 };
  pthread_t t[count];
  int good = 0;
  for (int i = 0; i < count; i++)
    good += pthread_create(&t[i], NULL, return_argument, &t[i]) == 0;
  for (int i = 0; i < count; i++) {
    void* result;
    good += pthread_join(t[i], &result) == 0 && result == &t[i];
  }
  ok(good == 2 * count, "200 threads at once");
}

static atomic_int detached_done;

static void* count_detached(void* p) {
  atomic_fetch_add(&detached_done, 1);
  return p;
}

static void detached(void) {
  enum { count = 1000 };
  pthread_attr_t a;
  pthread_attr_init(&a);
  pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
  int made = 0;
  for (int i = 0; i < count; i++) {
    pthread_t t;
    made += pthread_create(&t, &a, count_detached, NULL) == 0;
    if (i % 50 == 0)
      sched_yield();
  }
  long end = now_ms() + 5000;
  while (detached_done != made && now_ms() < end)
    sleep_ms(1);
  ok(made == count && detached_done == count, "1000 detached threads free themselves");
}

static __thread int own = 7;
static __thread char own_array[5000];

static void* use_own(void* p) {
  int good = own == 7 && own_array[4999] == 0;
  own = (int)(intptr_t)p;
  memset(own_array, own, sizeof own_array);
  for (int i = 0; i < 20; i++) {
    sched_yield();
    good &= own == (int)(intptr_t)p && own_array[i] == (char)own;
  }
  return (void*)(intptr_t)good;
}

static void thread_local_storage(void) {
  pthread_t t[10];
  int good = 1;
  for (intptr_t i = 0; i < 10; i++)
    pthread_create(&t[i], NULL, use_own, (void*)(i + 1));
  for (int i = 0; i < 10; i++) {
    void* r;
    pthread_join(t[i], &r);
    good &= (int)(intptr_t)r;
  }
  ok(good && own == 7, "thread-local variables are each thread's own");
}

static pthread_key_t key;
static atomic_int destroyed;

static void destroy_value(void* p) {
  if (p == &key)
    destroyed++;
}

static void* set_value(void* p) {
  pthread_setspecific(key, &key);
  return p;
}

static void specific_data(void) {
  pthread_t t;
  pthread_key_create(&key, destroy_value);
  pthread_create(&t, NULL, set_value, NULL);
  pthread_join(t, NULL);
  ok(destroyed == 1, "destructors of thread-specific data run");
  pthread_key_delete(key);
}

static void* small_stack_body(void* p) {
  struct timespec t = {0, 1000000};
  struct timespec now;
  nanosleep(&t, NULL);
  clock_gettime(CLOCK_REALTIME, &now);
  return getpid() == 1 ? p : NULL;
}

static void small_stacks(void) {
  enum { count = 50 };
  pthread_attr_t a;
  pthread_t t[count];
  int good = 0;
  pthread_attr_init(&a);
  good += pthread_attr_setstacksize(&a, PTHREAD_STACK_MIN) == 0;
  for (int i = 0; i < count; i++)
    good += pthread_create(&t[i], &a, small_stack_body, &a) == 0;
  for (int i = 0; i < count; i++) {
    void* r = NULL;
    good += pthread_join(t[i], &r) == 0 && r == &a;
  }
  ok(good == 1 + 2 * count, "threads with stacks of 2 kB make system calls");
}

static void names_and_numbers(void) {
  char name[16] = "";
  prctl(PR_SET_NAME, "a-long-name-that-is-cut");
  prctl(PR_GET_NAME, name);
  ok(strcmp(name, "a-long-name-tha") == 0, "PR_SET_NAME keeps 15 characters");
  ok(getpid() == 1 && gettid() == 1, "the main thread is process 1, thread 1");
}

/* --- locks --- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static long counter;

static void* count_under_mutex(void* p) {
  for (int i = 0; i < 20000; i++) {
    pthread_mutex_lock(&mutex);
    long c = counter;
    if (i % 64 == 0)
      sched_yield();
    counter = c + 1;
    pthread_mutex_unlock(&mutex);
  }
  return p;
}

static void mutexes(void) {
  pthread_t t[8];
  for (int i = 0; i < 8; i++)
    pthread_create(&t[i], NULL, count_under_mutex, NULL);
  for (int i = 0; i < 8; i++)
    pthread_join(t[i], NULL);
  ok(counter == 8 * 20000, "a mutex that is fought over excludes");

  pthread_mutex_lock(&mutex);
  struct timespec until = in_ms(CLOCK_REALTIME, 30);
  long begin = now_ms();
  int e = pthread_mutex_timedlock(&mutex, &until);
  long took = now_ms() - begin;
  pthread_mutex_unlock(&mutex);
  ok(e == ETIMEDOUT && took >= 29 && took < 5000, "pthread_mutex_timedlock gives up in time");
}

static pthread_cond_t full = PTHREAD_COND_INITIALIZER, empty = PTHREAD_COND_INITIALIZER;
static int slot, slot_used;

static void* produce(void* p) {
  for (int i = 1; i <= 5000; i++) {
    pthread_mutex_lock(&mutex);
    while (slot_used)
      pthread_cond_wait(&empty, &mutex);
    slot = i;
    slot_used = 1;
    pthread_cond_signal(&full);
    pthread_mutex_unlock(&mutex);
  }
  return p;
}

static int woken_together;

static void* wait_for_broadcast(void* p) {
  pthread_mutex_lock(&mutex);
  while (!slot_used)
    pthread_cond_wait(&full, &mutex);
  woken_together++;
  pthread_mutex_unlock(&mutex);
  return p;
}

static void conditions(void) {
  pthread_t t[30];
  long sum = 0;
  pthread_create(&t[0], NULL, produce, NULL);
  for (int i = 0; i < 5000; i++) {
    pthread_mutex_lock(&mutex);
    while (!slot_used)
      pthread_cond_wait(&full, &mutex);
    sum += slot;
    slot_used = 0;
    pthread_cond_signal(&empty);
    pthread_mutex_unlock(&mutex);
  }
  pthread_join(t[0], NULL);
  ok(sum == 5000L * 5001 / 2, "a producer and a consumer hand over 5000 items");

  for (int i = 0; i < 30; i++)
    pthread_create(&t[i], NULL, wait_for_broadcast, NULL);
  sleep_ms(20);
  pthread_mutex_lock(&mutex);
  slot_used = 1;
  pthread_cond_broadcast(&full);
  pthread_mutex_unlock(&mutex);
  for (int i = 0; i < 30; i++)
    pthread_join(t[i], NULL);
  ok(woken_together == 30, "a broadcast wakes 30 waiters");

  slot_used = 0;
  pthread_condattr_t a;
  pthread_cond_t c;
  pthread_condattr_init(&a);
  pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
  pthread_cond_init(&c, &a);
  struct timespec until = in_ms(CLOCK_MONOTONIC, 25);
  long begin = now_ms();
  pthread_mutex_lock(&mutex);
  int e = pthread_cond_timedwait(&c, &mutex, &until);
  pthread_mutex_unlock(&mutex);
  long took = now_ms() - begin;
  ok(e == ETIMEDOUT && took >= 24 && took < 5000, "pthread_cond_timedwait gives up in time");
}

static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static int pair_a, pair_b, torn;

static void* read_pair(void* p) {
  for (int i = 0; i < 3000; i++) {
    pthread_rwlock_rdlock(&rwlock);
    int a = pair_a;
    if (i % 100 == 0)
      sched_yield();
    if (a != pair_b)
      torn = 1;
    pthread_rwlock_unlock(&rwlock);
  }
  return p;
}

static void* write_pair(void* p) {
  for (int i = 0; i < 3000; i++) {
    pthread_rwlock_wrlock(&rwlock);
    pair_a++;
    if (i % 100 == 0)
      sched_yield();
    pair_b++;
    pthread_rwlock_unlock(&rwlock);
  }
  return p;
}

static pthread_barrier_t barrier;
static atomic_int arrived, serial, early;

static void* cross_barrier(void* p) {
  for (int round = 1; round <= 50; round++) {
    arrived++;
    if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
      serial++;
    if (arrived < round * 6)
      early = 1;
    pthread_barrier_wait(&barrier);
  }
  return p;
}

static sem_t ping, pong;

static void* answer(void* p) {
  for (int i = 0; i < 5000; i++) {
    sem_wait(&ping);
    sem_post(&pong);
  }
  return p;
}

static void other_locks(void) {
  pthread_t t[6];
  for (int i = 0; i < 6; i++)
    pthread_create(&t[i], NULL, i < 4 ? read_pair : write_pair, NULL);
  for (int i = 0; i < 6; i++)
    pthread_join(t[i], NULL);
  ok(!torn && pair_a == 6000, "readers never see a writer's half-done work");

  pthread_barrier_init(&barrier, NULL, 6);
  for (int i = 0; i < 6; i++)
    pthread_create(&t[i], NULL, cross_barrier, NULL);
  for (int i = 0; i < 6; i++)
    pthread_join(t[i], NULL);
  ok(serial == 50 && !early, "a barrier holds six threads 50 times");

  sem_init(&ping, 0, 0);
  sem_init(&pong, 0, 0);
  pthread_create(&t[0], NULL, answer, NULL);
  for (int i = 0; i < 5000; i++) {
    sem_post(&ping);
    sem_wait(&pong);
  }
  pthread_join(t[0], NULL);
  ok(1, "5000 round trips through semaphores");
  struct timespec until = in_ms(CLOCK_REALTIME, 20);
  int r = sem_timedwait(&ping, &until);
  ok(r == -1 && errno == ETIMEDOUT, "sem_timedwait gives up");
}

/* --- robust mutexes --- */

static pthread_mutex_t robust;

static void* die_holding(void* p) {
  pthread_mutex_lock(&robust);
  return p;
}

/* musl marks the mutexes of a thread that ends by itself. A thread that leaves through the bare
 * call is what the kernel has to clean up after; musl tells it of process-shared mutexes only. */
static void* leave_holding(void* p) {
  pthread_mutex_lock(&robust);
  sem_post(&ping);
  sleep_ms(10);
  syscall(SYS_exit, 0);
  return p;
}

static void robust_mutexes(void) {
  pthread_mutexattr_t a;
  pthread_t t;
  pthread_mutexattr_init(&a);
  pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(&robust, &a);
  pthread_create(&t, NULL, die_holding, NULL);
  pthread_join(t, NULL);
  int e = pthread_mutex_lock(&robust);
  ok(e == EOWNERDEAD, "the next owner of a robust mutex hears that the last one died");
  pthread_mutex_consistent(&robust);
  pthread_mutex_unlock(&robust);

  pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
  pthread_mutex_init(&robust, &a);
  pthread_create(&t, NULL, leave_holding, NULL);
  sem_wait(&ping);
  e = pthread_mutex_lock(&robust); /* waits for a thread that is still alive */
  ok(e == EOWNERDEAD, "the kernel hands over the mutexes of a thread that just left");
  pthread_mutex_consistent(&robust);
  pthread_mutex_unlock(&robust);
  e = pthread_mutex_lock(&robust);
  ok(e == 0, "a robust mutex made consistent works again");
  pthread_mutex_unlock(&robust);
}

/* --- preemption --- */

static volatile int stop_spinning;
static volatile double spun;

static void* spin(void* p) {
  double x = *(double*)p;
  unsigned long rounds = 0;
  while (!stop_spinning) {
    x = x * 1.0000001;
    rounds++;
  }
  spun = x;
  *(double*)p = (double)rounds;
  return p;
}

static void preemption(void) {
  pthread_t t[2];
  double v[2] = {1.0, 2.0};
  stop_spinning = 0;
  pthread_create(&t[0], NULL, spin, &v[0]);
  pthread_create(&t[1], NULL, spin, &v[1]);
  long begin = now_ms();
  sleep_ms(100);
  long took = now_ms() - begin;
  ok(took < 5000, "a sleeper gets the CPU back from two threads that spin");
  double x = 1;
  begin = now_ms();
  unsigned long rounds = 0;
  while (now_ms() < begin + 200) {
    for (int i = 0; i < 1000; i++)
      x = x * 1.0000001;
    rounds += 1000;
  }
  stop_spinning = 1;
  pthread_join(t[0], NULL);
  pthread_join(t[1], NULL);
  ok(v[0] > 0 && v[1] > 0 && rounds > 0, "all of three spinning threads run");
  ok(v[0] < 3 * v[1] && v[1] < 3 * v[0], "two equal spinning threads get similar shares");
}

static void* vector_work(void* p) {
  /* The registers hold values across preemption at any instruction. */
  double expected = 0, seed = *(double*)p;
  for (int i = 0; i < 1000; i++)
    expected += seed * i;
  int good = 1;
  long end = now_ms() + 150;
  while (now_ms() < end) {
    double sum = 0;
    for (int i = 0; i < 1000; i++)
      sum += seed * i;
    good &= sum == expected;
  }
  return (void*)(intptr_t)good;
}

static void* spin_in_call(void* p) {
  while (!stop_spinning)
    now_ms();
  return p;
}

static void preemption_in_calls(void) {
  pthread_t t[2];
  stop_spinning = 0;
  pthread_create(&t[0], NULL, spin_in_call, NULL);
  pthread_create(&t[1], NULL, spin_in_call, NULL);
  long begin = now_ms();
  for (int i = 0; i < 10; i++)
    sleep_ms(5);
  ok(now_ms() - begin < 5000, "threads that do nothing but leaf calls are preempted too");
  stop_spinning = 1;
  pthread_join(t[0], NULL);
  pthread_join(t[1], NULL);
}

static void vector_registers(void) {
  pthread_t t[4];
  double seeds[4] = {1.5, 2.25, 3.125, 0.1};
  int good = 1;
  for (int i = 0; i < 4; i++)
    pthread_create(&t[i], NULL, vector_work, &seeds[i]);
  for (int i = 0; i < 4; i++) {
    void* r;
    pthread_join(t[i], &r);
    good &= (int)(intptr_t)r;
  }
  ok(good, "floating-point registers survive preemption");
}

/* --- cancellation --- */

static atomic_int cleaned;

static void clean(void* p) {
  (void)p;
  cleaned++;
}

static void* sleep_for_ever(void* p) {
  pthread_cleanup_push(clean, NULL);
  sem_post(&ping);
  for (;;)
    sleep(1000);
  pthread_cleanup_pop(0);
  return p;
}

static void* wait_condition(void* p) {
  pthread_mutex_lock(&mutex);
  pthread_cleanup_push((void (*)(void*))pthread_mutex_unlock, &mutex);
  sem_post(&ping);
  for (;;)
    pthread_cond_wait(&empty, &mutex);
  pthread_cleanup_pop(0);
  return p;
}

static int pipe_ends[2];

static void* read_pipe(void* p) {
  char c;
  pthread_cleanup_push(clean, NULL);
  sem_post(&ping);
  while (read(pipe_ends[0], &c, 1) != -2)
    ;
  pthread_cleanup_pop(0);
  return p;
}

static void* spin_cancellable(void* p) {
  pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
  pthread_cleanup_push(clean, NULL);
  sem_post(&ping);
  for (;;)
    ;
  pthread_cleanup_pop(0);
  return p;
}

static atomic_int after_protected;

static void* protected_part(void* p) {
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
  sem_post(&ping);
  sleep_ms(60);
  after_protected = 1;
  pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
  pthread_testcancel();
  after_protected = 2;
  return p;
}

static int cancel_one(void* (*body)(void*)) {
  pthread_t t;
  void* result = NULL;
  if (pthread_create(&t, NULL, body, NULL))
    return 0;
  sem_wait(&ping);
  sleep_ms(10);
  pthread_cancel(t);
  pthread_join(t, &result);
  return result == PTHREAD_CANCELED;
}

static void cancellation(void) {
  cleaned = 0;
  ok(cancel_one(sleep_for_ever) && cleaned == 1, "a sleeping thread is cancelled and cleans up");
  ok(cancel_one(wait_condition) && pthread_mutex_trylock(&mutex) == 0,
     "a condition wait is cancelled holding the mutex");
  pthread_mutex_unlock(&mutex);
  if (pipe(pipe_ends) == 0)
    ok(cancel_one(read_pipe) && cleaned == 2, "a blocked read is cancelled");
  else
    ok(0, "pipe()");
  ok(cancel_one(spin_cancellable) && cleaned == 3, "a spinning thread is cancelled asynchronously");
  ok(cancel_one(protected_part) && after_protected == 1,
     "a disabled cancellation waits until it is enabled");
}

/* --- scheduler calls --- */

static void scheduler_calls(void) {
  cpu_set_t set;
  CPU_ZERO(&set);
  ok(sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) == 1, "one CPU to run on");
  CPU_ZERO(&set);
  CPU_SET(5, &set);
  ok(sched_setaffinity(0, sizeof set, &set) == -1 && errno == EINVAL, "but not number 5");
  ok(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) == -1 && errno == ENOSYS,
     "a clone that would be a process is refused");
  struct timespec t;
  ok(sched_rr_get_interval(0, &t) == 0 && t.tv_nsec > 0, "sched_rr_get_interval");
}

int main(void) {
  plan(34);
  names_and_numbers();
  create_and_join();
  many_at_once();
  detached();
  thread_local_storage();
  specific_data();
  small_stacks();
  mutexes();
  conditions();
  other_locks();
  robust_mutexes();
  preemption();
  preemption_in_calls();
  vector_registers();
  cancellation();
  scheduler_calls();
  return finish();
}
