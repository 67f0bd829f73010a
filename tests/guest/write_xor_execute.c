// No memory is writable and executable at once, and what the image holds stays as it is: by the
// page tables themselves, by stores to every alias, and by what mmap, mprotect and the like refuse.
// mem: 64
#define _GNU_SOURCE
#include "tap.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FAILS(call, code) ((long)(call) == -1 && errno == (code))
#define PAGE 4096ul

enum { RW = PROT_READ | PROT_WRITE, RX = PROT_READ | PROT_EXEC, RWX = RW | PROT_EXEC };

static char* map(size_t bytes, int prot) {
  return mmap(NULL, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

// --- stores that must not succeed

static sigjmp_buf back;

static void on_fault(int signal) {
  (void)signal;
  siglongjmp(back, 1);
}

static int can_write(uint64_t address) {
  volatile char* p = (volatile char*)address;
  if (sigsetjmp(back, 1))
    return 0;
  *p = *p; // what it held, in case it succeeds
  return 1;
}
static int can_read(uint64_t address) {
  if (sigsetjmp(back, 1))
    return 0;
  (void)*(volatile char*)address;
  return 1;
}

// --- the page tables, read as the processor does

// A symbol's address, which need not lie where code for low addresses can name it.
#define ADDRESS(symbol)                                                                            \
  ({                                                                                               \
    uint64_t address_;                                                                             \
    __asm__("movabs $" #symbol ", %0" : "=r"(address_));                                           \
    address_;                                                                                      \
  })

static const uint64_t direct_map = 0xffff800000000000, kernel_base = 0xffffffffc0000000;
static const uint64_t frame_bits = 0x000ffffffffff000;
enum { present = 1, writable = 2, large = 0x80 };
static const uint64_t no_execute = 1ull << 63;

struct range {
  uint64_t start, end; // physical
};
static struct range texts[2], sealed[4];

static int within(uint64_t frame, uint64_t bytes, const struct range* r, int count) {
  for (int i = 0; i < count; i++)
    if (frame < r[i].end && frame + bytes > r[i].start)
      return 1;
  return 0;
}

static struct {
  unsigned leaves, both, foreign_code, writable_image, code_pages;
  uint64_t first; // virtual address of the first offence
} found;

static void offence(unsigned* kind, uint64_t address) {
  if (!found.first)
    found.first = address;
  ++*kind;
}

static void leaf(uint64_t address, uint64_t entry, uint64_t bytes, int may_write, int may_execute) {
  const uint64_t frame = entry & frame_bits & ~(bytes - 1);
  found.leaves++;
  if (may_write && may_execute)
    offence(&found.both, address);
  if (may_execute && !within(frame, 1, texts, 2))
    offence(&found.foreign_code, address);
  if (may_write && within(frame, bytes, sealed, 4))
    offence(&found.writable_image, address);
  found.code_pages += may_execute;
}

static void walk(uint64_t table, int level, uint64_t base, int may_write, int may_execute) {
  const uint64_t* entries = (const uint64_t*)(direct_map + table);
  const uint64_t span = 1ull << (12 + 9 * (level - 1));
  for (uint64_t i = 0; i < 512; i++) {
    const uint64_t entry = entries[i];
    if (!(entry & present))
      continue;
    uint64_t address = base + i * span;
    if (level == 4 && i >= 256)
      address |= 0xffff000000000000;
    const int w = may_write && (entry & writable), x = may_execute && !(entry & no_execute);
    if (level == 1 || (entry & large))
      leaf(address, entry, span, w, x);
    else
      walk(entry & frame_bits, level - 1, address, w, x);
  }
}

static uint64_t page_up(uint64_t address) {
  return (address + PAGE - 1) & -PAGE;
}

static void audit(const char* when) {
  uint64_t root;
  __asm__ volatile("mov %%cr3, %0" : "=r"(root));
  memset(&found, 0, sizeof found);
  walk(root & frame_bits, 4, 0, 1, 1);
  const uint64_t pages = (texts[0].end - texts[0].start + texts[1].end - texts[1].start) / PAGE;
  printf("# %u leaves, %u pages of code, first offence at %#lx\n", found.leaves, found.code_pages,
         found.first);
  char what[200];
#define SAYS(text) (snprintf(what, sizeof what, "%s: %s", when, text), what)
  ok(found.leaves > 50 && found.both == 0, SAYS("no page is writable and executable"));
  ok(found.foreign_code == 0 && found.code_pages == pages,
     SAYS("what is executable is the text of kernel and application, once"));
  ok(found.writable_image == 0, SAYS("the image's text and constants are writable nowhere"));
}

static void find_image(void) {
  const uint64_t load = ADDRESS(app_load_start) - ADDRESS(app_text_start);
  texts[0] = (struct range){ADDRESS(kernel_text_start) - kernel_base,
                            page_up(ADDRESS(kernel_text_end)) - kernel_base};
  texts[1] = (struct range){ADDRESS(app_text_start) + load, ADDRESS(app_text_end) + load};
  sealed[0] = texts[0];
  sealed[1] = texts[1];
  sealed[2] = (struct range){ADDRESS(kernel_rodata_start) - kernel_base,
                             page_up(ADDRESS(kernel_rodata_end)) - kernel_base};
  sealed[3] = (struct range){ADDRESS(app_rodata_start) + load, ADDRESS(app_rodata_end) + load};
}

// --- the image through its addresses

static const char constant[] = "in the read-only part";
static char data[2 * PAGE] __attribute__((aligned(4096))) = {1};
static char zeroed[2 * PAGE] __attribute__((aligned(4096)));
__attribute__((section(".data.rel.ro"), used)) static void* relocated = (void*)&constant;
extern void (*const __init_array_start)(void);

struct __attribute__((packed)) table_pointer {
  uint16_t limit;
  uint64_t base;
};

static uint64_t alias(uint64_t kernel_address) {
  return kernel_address - kernel_base + direct_map;
}

static void stores(void) {
  const uint64_t kernel_text = ADDRESS(kernel_text_start), application = ADDRESS(app_text_start);
  ok(can_read(alias(kernel_text)) && !can_write(alias(kernel_text)) && !can_write(kernel_text),
     "the kernel's text, and in the direct map");
  const uint64_t constants = ADDRESS(kernel_rodata_start);
  ok(!can_write(alias(constants)) && !can_write(constants), "its constants");
  const uint64_t own = ADDRESS(app_load_start) + direct_map;
  ok(!can_write(application) && !can_write(own), "the application's text");
  ok(!can_write(ADDRESS(app_rodata_start)) &&
         !can_write(own + (ADDRESS(app_rodata_start) - application)),
     "its constants");
  ok(!can_write((uint64_t)&relocated) && !can_write((uint64_t)&__init_array_start),
     "what a dynamic linker would have relocated, and the table of constructors");
  ok(!can_write(direct_map + 0x100000), "the page of the entry code");

  struct table_pointer interrupts, segments;
  __asm__ volatile("sidt %0; sgdt %1" : "=m"(interrupts), "=m"(segments));
  ok(!can_write(interrupts.base) && !can_write(interrupts.base + interrupts.limit) &&
         !can_write(alias(interrupts.base)),
     "the interrupt table");
  ok(!can_write(segments.base) && !can_write(alias(segments.base)), "the segment table");
  const uint64_t* state = (const uint64_t*)(segments.base + 24);
  const uint64_t task = (state[0] >> 16 & 0xffffff) | (state[0] >> 56) << 24 | state[1] << 32;
  ok(*(const uint32_t*)(task + 36) != 0 && !can_write(task) && !can_write(alias(task)),
     "the task state");
  const uint64_t tables = ADDRESS(image_tables);
  ok(can_read(tables) && !can_write(tables) && !can_write(alias(tables)),
     "the page tables of the kernel's image");
  data[0] = 2;
  zeroed[0] = 3;
  ok(data[0] == 2 && zeroed[0] == 3, "the application's data can be written");
}

// --- what the calls refuse

static void refusals(void) {
  char* p = map(4 * PAGE, RW);
  ok(FAILS(map(PAGE, RWX), EACCES), "mmap: writable and executable");
  ok(FAILS(map(PAGE, PROT_WRITE | PROT_EXEC), EACCES), "mmap: without reading, too");
  ok(FAILS(mprotect(p, PAGE, RWX), EACCES) && can_write((uint64_t)p), "mprotect: likewise");
  ok(FAILS(mmap(p, PAGE, RWX, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), EACCES) &&
         can_write((uint64_t)p),
     "mmap at a fixed place: likewise, and what is there stays");
  p[0] = (char)0xc3; // ret
  ok(mprotect(p, PAGE, RX) == 0 && (((void (*)(void))p)(), 1) && !can_write((uint64_t)p),
     "one after the other is allowed");
  ok(FAILS(mprotect(p, 2 * PAGE, RWX), EACCES) && !can_write((uint64_t)p), "but no way further");
  ok(mprotect(p, PAGE, RW) == 0 && can_write((uint64_t)p), "than back");

  int fd = open("/tmp/code", O_CREAT | O_RDWR | O_TRUNC, 0600);
  ok(write(fd, p, PAGE) == (ssize_t)PAGE &&
         FAILS(mmap(NULL, PAGE, RWX, MAP_PRIVATE, fd, 0), EACCES),
     "a file, writable and executable");
  char* code = mmap(NULL, PAGE, RX, MAP_PRIVATE, fd, 0);
  ok(code != MAP_FAILED && (((void (*)(void))code)(), 1) &&
         FAILS(mprotect(code, PAGE, RWX), EACCES),
     "a file, executable");
  ok(pwrite(fd, "\xcc", 1, 0) == 1 && (((void (*)(void))code)(), 1),
     "which stays the same when the file is written to");
  munmap(code, PAGE);
  close(fd);

  personality(READ_IMPLIES_EXEC);
  char* q = map(PAGE, RW);
  ok(q != MAP_FAILED, "personality: reading does not imply execution");
  q[0] = (char)0xc3;
  if (!sigsetjmp(back, 1)) {
    ((void (*)(void))q)();
    ok(0, "and it is not executed");
  } else {
    ok(1, "and it is not executed");
  }
  personality(0);

  char* start = (char*)syscall(SYS_brk, 0);
  ok((char*)syscall(SYS_brk, start + PAGE) == start + PAGE &&
         FAILS(mprotect(start, PAGE, RX), EACCES) && FAILS(mprotect(start, PAGE, RWX), EACCES) &&
         can_write((uint64_t)start),
     "the break is never code");
  char* stack = mmap(NULL, 4 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  char here;
  ok(FAILS(mprotect(stack, PAGE, RX), EACCES) &&
         FAILS(mprotect((void*)((uint64_t)&here & -PAGE), PAGE, RX), EACCES) &&
         FAILS(mprotect((void*)((uint64_t)&here & -PAGE), PAGE, RWX), EACCES),
     "nor is a stack");
  ok(FAILS(open("/proc/self/mem", O_RDWR), ENOENT), "there is no /proc/self/mem");
  ok(FAILS(syscall(SYS_shmget, 0, PAGE, 0), ENOSYS), "nor System V's shared memory");
}

static int answer(void) {
  return 42;
}

static void sealed_image(void) {
  char* text = (char*)((uint64_t)&answer & -PAGE);
  char* constants = (char*)((uint64_t)constant & -PAGE);
  char* elsewhere = map(PAGE, PROT_NONE);
  ok(FAILS(mprotect(text, PAGE, RW), EACCES) && FAILS(mprotect(text, PAGE, RWX), EACCES) &&
         FAILS(mprotect(text, PAGE, PROT_WRITE), EACCES),
     "mprotect: the image's text never becomes writable");
  ok(FAILS(mprotect(constants, PAGE, RW), EACCES) && FAILS(mprotect(constants, PAGE, RX), EACCES),
     "its constants neither writable nor executable");
  ok(FAILS(mprotect(data, PAGE, RX), EACCES) && FAILS(mprotect(data, PAGE, RWX), EACCES) &&
         FAILS(mprotect(zeroed, PAGE, RX), EACCES) &&
         FAILS(mprotect(zeroed + PAGE, PAGE, PROT_EXEC), EACCES),
     "its data not executable");
  ok(FAILS(mprotect(text, data - text + PAGE, RW), EACCES) &&
         FAILS(mprotect(text, data - text + PAGE, RX), EACCES),
     "nor in a range that holds all of them");
  ok(mprotect(text, PAGE, RX) == 0 && mprotect(constants, PAGE, PROT_READ) == 0 &&
         mprotect(data, PAGE, PROT_READ) == 0 && !can_write((uint64_t)data) &&
         mprotect(data, PAGE, RW) == 0 && can_write((uint64_t)data),
     "what they are they may be");
  ok(FAILS(munmap(text, PAGE), EPERM) && FAILS(munmap(constants, PAGE), EPERM) &&
         FAILS(munmap(text, data - text + PAGE), EPERM),
     "munmap of text and constants");
  ok(FAILS(mmap(text, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), EPERM) &&
         FAILS(mmap(constants, PAGE, RX, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), EPERM),
     "mmap in their place");
  ok(FAILS((long)mremap(text, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere), EPERM) &&
         FAILS((long)mremap(text, PAGE, 2 * PAGE, MREMAP_MAYMOVE), EPERM) &&
         FAILS((long)mremap(elsewhere, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, text), EPERM),
     "mremap from and to");
  ok(madvise(text, PAGE, MADV_DONTNEED) == 0 && madvise(constants, PAGE, MADV_FREE) == 0 &&
         answer() == 42 && strcmp(constant, "in the read-only part") == 0,
     "madvise changes nothing");
  // The data may move, and is still no code there.
  char* moved = mremap(zeroed + PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere);
  ok(moved == elsewhere && can_write((uint64_t)moved) && FAILS(mprotect(moved, PAGE, RX), EACCES),
     "data that was moved is still not executable");
}

int main(void) {
  static char stack[65536];
  sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
  struct sigaction action = {.sa_handler = on_fault, .sa_flags = SA_ONSTACK};
  sigaction(SIGSEGV, &action, NULL);

  find_image();
  audit("at first");
  stores();
  refusals();
  sealed_image();
  // Memory of every kind: large pages, many small ones, threads' stacks.
  for (int i = 0; i < 3; i++)
    memset(map(4ul << 20, RW), 1, 4ul << 20);
  char* code = mmap(NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(code, 0xc3, PAGE);
  mprotect(code, PAGE, RX);
  munmap(code, PAGE);
  audit("after all that");
  return finish_counted();
}
