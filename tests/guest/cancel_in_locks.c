/* Threads that are cancelled while they wait for a lock. With asynchronous cancellation they end,
 * as with glibc; otherwise the lock is no cancellation point and they end at the next one. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "tap.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static atomic_int waiting, got_it;

static void* wait_for_mutex(void* async) {
  if (async)
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
  waiting = 1;
  pthread_mutex_lock(&mutex);
  got_it = 1;
  pthread_mutex_unlock(&mutex);
  pthread_testcancel();
  return "went on";
}

static void* wait_with_limit(void* unused) {
  (void)unused;
  pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
  struct timespec limit;
  clock_gettime(CLOCK_REALTIME, &limit);
  limit.tv_sec += 3600;
  waiting = 1;
  pthread_mutex_timedlock(&mutex, &limit);
  return "went on";
}

static void* wait_for_rwlock(void* unused) {
  (void)unused;
  pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
  waiting = 1;
  pthread_rwlock_wrlock(&rwlock);
  return "went on";
}

static pthread_t start_waiting(void* (*entry)(void*), void* argument) {
  pthread_t thread;
  waiting = 0;
  pthread_create(&thread, NULL, entry, argument);
  while (!waiting)
    usleep(1000);
  usleep(20000);
  return thread;
}

static void* result_of(pthread_t thread) {
  void* result = NULL;
  pthread_join(thread, &result);
  return result;
}

static int cancelled_while_waiting(void* (*entry)(void*), void* argument) {
  pthread_t thread = start_waiting(entry, argument);
  return pthread_cancel(thread) == 0 && result_of(thread) == PTHREAD_CANCELED;
}

int main(void) {
  pthread_mutex_lock(&mutex);
  ok(cancelled_while_waiting(wait_for_mutex, "asynchronously"), "in pthread_mutex_lock");
  ok(cancelled_while_waiting(wait_with_limit, NULL), "in pthread_mutex_timedlock");
  pthread_rwlock_rdlock(&rwlock);
  ok(cancelled_while_waiting(wait_for_rwlock, NULL), "in pthread_rwlock_wrlock");

  pthread_t deferred = start_waiting(wait_for_mutex, NULL);
  pthread_cancel(deferred);
  usleep(50000);
  ok(!got_it, "deferred cancellation leaves who waits for a lock waiting");
  pthread_mutex_unlock(&mutex);
  ok(result_of(deferred) == PTHREAD_CANCELED && got_it,
     "and ends it at the next cancellation point");

  ok(pthread_mutex_lock(&mutex) == 0 && pthread_mutex_unlock(&mutex) == 0,
     "the mutex is as good as before");
  return finish_counted();
}
