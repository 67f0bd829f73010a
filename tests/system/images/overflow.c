// Writes over the end of a buffer on the stack. `application`: in a function of its own; `kernel`:
// in a system call that another thread waits in; `canaries`: only prints both canaries.
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { kernel_stack_bytes = 16384 };

static uint64_t kernel_canary(void) {
  const uint64_t* at;
  __asm__("movabs $kernel_stack_guard, %0" : "=r"(at));
  return *at;
}
static uint64_t application_canary(void) {
  uint64_t canary;
  __asm__("mov %%fs:0x28, %0" : "=r"(canary));
  return canary;
}

__attribute__((noipa)) static int copies_too_much(const char* from, size_t bytes) {
  char buffer[16];
  for (size_t i = 0; i < bytes; i++)
    ((volatile char*)buffer)[i] = from[i];
  return buffer[3];
}

static int ends[2];
static uint64_t* volatile stack_top;

static void* waits(void* unused) {
  uint64_t* top;
  __asm__ volatile("mov %%gs:8, %0" : "=r"(top)); // percpu::kernel_stack_top
  stack_top = top;
  char byte;
  printf("read: %zd\n", read(ends[0], &byte, 1));
  return unused;
}

static void overwrite_kernel_stack(void) {
  pthread_t thread;
  (void)!pipe(ends);
  pthread_create(&thread, NULL, waits, NULL);
  usleep(50000);
  const uint64_t canary = kernel_canary();
  int found = 0;
  for (uint64_t* p = stack_top - kernel_stack_bytes / sizeof *p; p < stack_top; p++)
    if (*p == canary) {
      *p ^= 1;
      found++;
    }
  printf("%d canaries overwritten\n", found);
  fflush(stdout);
  (void)!write(ends[1], "x", 1);
  pthread_join(thread, NULL);
}

int main(int argc, char** argv) {
  const char* what = argc > 1 ? argv[1] : "";
  if (strcmp(what, "canaries") == 0) {
    printf("application %016lx kernel %016lx\n", application_canary(), kernel_canary());
    return 0;
  }
  printf("about to overflow\n");
  fflush(stdout);
  if (strcmp(what, "kernel") == 0)
    overwrite_kernel_stack();
  else
    copies_too_much("a text that is much longer than the buffer for it", 40);
  printf("nobody noticed\n");
  return 0;
}
