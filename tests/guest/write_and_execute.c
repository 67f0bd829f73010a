// options: mem.wx=allow
//
// With this option memory may be writable and executable at once, but nothing of the image changes.
#define _GNU_SOURCE
#include "tap.h"
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FAILS(call, code) ((long)(call) == -1 && errno == (code))
#define PAGE 4096ul

enum { RW = PROT_READ | PROT_WRITE, RX = PROT_READ | PROT_EXEC, RWX = RW | PROT_EXEC };

static const char constant[] = "in the read-only part";
static char data[PAGE] __attribute__((aligned(4096))) = {1};

static int answer(void) {
  return 42;
}

// mov $value, %eax; ret
static int makes(char* p, int value) {
  memcpy(p, "\xb8", 1);
  memcpy(p + 1, &value, 4);
  memcpy(p + 5, "\xc3", 1);
  return ((int (*)(void))p)();
}

int main(void) {
  char* p = mmap(NULL, PAGE, RWX, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ok(p != MAP_FAILED && makes(p, 7) == 7 && makes(p, 8) == 8, "mmap: writable and executable");
  char* q = mmap(NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ok(mprotect(q, PAGE, RWX) == 0 && makes(q, 9) == 9, "mprotect");
  char* start = (char*)syscall(SYS_brk, 0);
  ok((char*)syscall(SYS_brk, start + PAGE) == start + PAGE && mprotect(start, PAGE, RWX) == 0 &&
         makes(start, 10) == 10,
     "the break");
  char* text = (char*)((uint64_t)&answer & -PAGE);
  char* constants = (char*)((uint64_t)constant & -PAGE);
  ok(FAILS(mprotect(text, PAGE, RWX), EACCES) && FAILS(mprotect(text, PAGE, RW), EACCES) &&
         FAILS(munmap(text, PAGE), EPERM) && answer() == 42,
     "not the image's text");
  ok(FAILS(mprotect(constants, PAGE, RW), EACCES) && FAILS(mprotect(constants, PAGE, RX), EACCES),
     "nor its constants");
  ok(FAILS(mprotect(data, PAGE, RX), EACCES) && FAILS(mprotect(data, PAGE, RWX), EACCES),
     "nor its data");
  return finish_counted();
}
