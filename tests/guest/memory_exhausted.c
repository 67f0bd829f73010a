// More memory is touched than there is: a report and the end of the machine, never a hang. What can
// be refused before that is refused.
// mem: 16
// expect: 70
#define _GNU_SOURCE
#include "tap.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

int main(void) {
  plan(2);
  ok(malloc(256 << 20) == NULL && errno == ENOMEM, "what could never be held is refused");
  // Within what may be promised; the pages are another matter.
  volatile char* p =
      mmap(NULL, 64 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ok(p != MAP_FAILED, "64 MB are promised in 16");
  for (size_t i = 0; i < 64 << 20; i += 4096)
    p[i] = 1;
  puts("not ok 3 - more memory than there is");
  return 0;
}
