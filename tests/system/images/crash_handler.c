// A program with a handler for its own crash: `wait` joins a thread that never ends, `spin`
// computes for ever, `once` does that with a handler for one signal only; `leave` goes on behind a
// longjmp, and `again` also installs its handler again: both end in order, later.
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char* mode;
static sigjmp_buf before;

// Says each second how many of them have passed, by a clock that it looks at all the time or
// sleeping.
static void count_seconds(int sleeping) {
  struct timespec start, now;
  clock_gettime(CLOCK_MONOTONIC, &start);
  for (int said = 0;; said += 1) {
    do {
      if (sleeping)
        usleep(50000);
      clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 <=
             said * 1000);
    printf("%d s in the handler\n", said);
    fflush(stdout);
  }
}

static void* never_ends(void* unused) {
  count_seconds(1);
  return unused;
}

static void handler(int signo) {
  (void)signo;
  puts("in the handler");
  fflush(stdout);
  pthread_t thread;
  if (!strcmp(mode, "leave") || !strcmp(mode, "again"))
    siglongjmp(before, 1);
  if (!strcmp(mode, "wait") && pthread_create(&thread, NULL, never_ends, NULL) == 0)
    pthread_join(thread, NULL);
  count_seconds(0);
}

static void install(int flags) {
  struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
  sigaction(SIGSEGV, &action, NULL);
}

int main(int argc, char** argv) {
  mode = argc > 1 ? argv[1] : "wait";
  const int once = SA_NODEFER | SA_RESETHAND;
  const int flags = !strcmp(mode, "once") || !strcmp(mode, "again") ? once : 0;
  install(flags);
  if (sigsetjmp(before, 1) == 0)
    *(volatile char*)8 = 1;
  if (flags)
    install(flags);
  sleep(12);
  puts("behind the crash");
  return 0;
}
