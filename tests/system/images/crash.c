// Dies of a bad pointer, a few calls deep, so that the report has something to name.
#include <stdio.h>

static __attribute__((noinline)) int innermost(volatile int* p) {
  return *p + 1;
}

__attribute__((noinline)) int middle(volatile int* p) {
  return innermost(p) + 1;
}

int main(void) {
  puts("about to crash");
  fflush(stdout);
  return middle((volatile int*)0x10);
}
