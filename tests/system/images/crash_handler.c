// A program with a handler for its own crash: `wait` joins a thread that never ends, `spin`
// computes for ever, `once` does that with a handler for one signal only; `leave` goes on behind a
// longjmp, and `again` also installs its handler again: both end in order, later.
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char* mode;
static sigjmp_buf before;

static void* never_ends(void* unused) {
  for (;;)
    pause();
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
  for (;;)
    ;
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
