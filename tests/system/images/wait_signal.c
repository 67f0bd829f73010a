// Waits for SIGINT or SIGTERM and says which came.
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

int main(void) {
  sigset_t set;
  int which;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigprocmask(SIG_BLOCK, &set, 0);
  puts("waiting");
  fflush(stdout);
  sigwait(&set, &which);
  printf("signal %d\n", which);
  return 0;
}
