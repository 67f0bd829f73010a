// mem: 32
/* Semaphores in a program that never makes a thread: the small futex call that such images have. */
#include <semaphore.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>

#include "tap.h"

static sem_t semaphore;

static void post(int signo) {
  (void)signo;
  sem_post(&semaphore);
}

int main(void) {
  plan(4);
  struct timespec t, now;
  sem_init(&semaphore, 0, 0);
  ok(sem_trywait(&semaphore) == -1 && errno == EAGAIN, "an empty semaphore");
  clock_gettime(CLOCK_REALTIME, &t);
  t.tv_nsec += 20000000;
  if (t.tv_nsec >= 1000000000) {
    t.tv_sec++;
    t.tv_nsec -= 1000000000;
  }
  int r = sem_timedwait(&semaphore, &t), e = errno;
  clock_gettime(CLOCK_REALTIME, &now);
  ok(r == -1 && e == ETIMEDOUT, "sem_timedwait gives up");
  ok(now.tv_sec > t.tv_sec || (now.tv_sec == t.tv_sec && now.tv_nsec >= t.tv_nsec),
     "but not too early");
  signal(SIGALRM, post);
  struct itimerval soon = {{0, 0}, {0, 10000}};
  setitimer(ITIMER_REAL, &soon, NULL);
  while ((r = sem_wait(&semaphore)) == -1 && errno == EINTR)
    ;
  ok(r == 0, "a signal handler posts what main waits for");
  return finish();
}
