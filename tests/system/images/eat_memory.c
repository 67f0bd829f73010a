// Asks for more memory than there is: in one piece, whose refusal is an answer ("huge"); by malloc
// in small pieces ("malloc"); or by touching a mapping that promised it ("touch"), where nobody can
// be told any more.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static const size_t huge = (size_t)1 << 30;

static int touch(void) {
  char* p =
      mmap(0, huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) {
    perror("mmap");
    return 3;
  }
  for (size_t at = 0; at < huge; at += 4096)
    p[at] = 1;
  return 0;
}

int main(int argc, char** argv) {
  const char* how = argc > 1 ? argv[1] : "";
  if (!strcmp(how, "touch"))
    return touch();
  char* p = malloc(!strcmp(how, "huge") ? huge : 100000);
  while (p) {
    memset(p, 1, 100000);
    p = malloc(100000);
  }
  perror("malloc");
  return 0;
}
