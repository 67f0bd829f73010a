// mem: 32
// expect: 15
/* A signal nobody handles ends the machine with 128 + its number, of which isa-debug-exit carries
 * seven bits to the host; an ignored one does not. */
#include <signal.h>
#include <unistd.h>

#include "tap.h"

int main(void) {
  plan(2);
  raise(SIGCHLD);
  ok(1, "a signal that is ignored by default");
  ok(getpid() == 1, "the last thing that is seen");
  kill(getpid(), SIGTERM);
  printf("still here\n");
  return finish();
}
