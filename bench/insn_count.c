// A TCG plugin that counts guest instructions, for QEMU's plugin interface version 1 (QEMU 7.2).
// The interface's header is not packaged, so what is used of it is declared here.
//
//   -plugin libinsn_count.so,out=FILE[,idle=START:END][,at=NAME:ADDRESS]...[,fault=ADDRESS]
//           [,pages=1][,log=1][,count=0]          (numbers in hex)
//
// Every count is split in three: instructions; repeats of one `rep` string instruction beyond its
// first (under TCG each iteration executes the instruction again; a processor does not); and
// instructions inside the idle range. Appended to FILE, a line of JSON each time: at exit, on
// SIGUSR2, and per `at` address, whose counts are those just before its first execution. A line
// also tells how many blocks of code have been translated (what a boot under TCG spends its time
// on), how often the instruction at `fault` was executed (the page-fault handler's first), and with
// `pages` (slow) how many different 4 kB pages of RAM were touched: each is a fault of the host's
// when a virtual machine's memory is fresh. With `log` marks also go into QEMU's log (-d plugin -D
// FILE), so that they stand between the lines of -trace.
//
// Counting is by block, which costs two additions a block: the rest of a block that a fault cuts
// short is counted too. One vCPU only, since inline counters are shared.
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

// --- QEMU's plugin interface, the part used here ---

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;

typedef struct {
  const char* target_name;
  struct {
    int min, cur;
  } version;
  bool system_emulation;
  struct {
    int smp_vcpus, max_vcpus;
  } system;
} qemu_info_t;

enum { INLINE_ADD_U64 = 0 };
enum { CB_NO_REGS = 0 };
enum { MEM_RW = 3 };

typedef uint32_t qemu_plugin_meminfo_t;
struct qemu_plugin_hwaddr;

extern void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t,
                                                  void (*)(qemu_plugin_id_t,
                                                           struct qemu_plugin_tb*));
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb*, int op, void* counter,
                                                     uint64_t value);
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn*,
                                                   void (*)(unsigned vcpu, void*), int flags,
                                                   void*);
extern void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn*, int op,
                                                       void* counter, uint64_t value);
extern void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn*,
                                             void (*)(unsigned vcpu, qemu_plugin_meminfo_t,
                                                      uint64_t address, void*),
                                             int flags, int rw, void*);
extern struct qemu_plugin_hwaddr* qemu_plugin_get_hwaddr(qemu_plugin_meminfo_t, uint64_t address);
extern bool qemu_plugin_hwaddr_is_io(const struct qemu_plugin_hwaddr*);
extern uint64_t qemu_plugin_hwaddr_phys_addr(const struct qemu_plugin_hwaddr*);
extern void qemu_plugin_outs(const char*);
extern void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, void*),
                                           void*);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb*);
extern struct qemu_plugin_insn* qemu_plugin_tb_get_insn(const struct qemu_plugin_tb*, size_t);
extern const void* qemu_plugin_insn_data(const struct qemu_plugin_insn*);
extern size_t qemu_plugin_insn_size(const struct qemu_plugin_insn*);
extern void* qemu_plugin_insn_haddr(const struct qemu_plugin_insn*);
extern uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn*);

EXPORT int qemu_plugin_version = 1;
EXPORT int qemu_plugin_install(qemu_plugin_id_t, const qemu_info_t*, int, char**);

// --- counting ---

static uint64_t busy; // outside the idle range, repeats included
static uint64_t idle;
static uint64_t repeats; // of rep instructions, the first execution not among them

static uint64_t program; // of busy, those where programs lie: 4 MB to the upper half; with repeats
static uint64_t blocks;  // translated
static uint64_t faults;  // executions of the instruction at fault_address
static uint64_t touched; // different pages
static uint64_t fault_address;

static uint64_t idle_start, idle_end;
static int out = -1;
static bool in_log, with_pages, counting = true;

struct mark {
  const char* name;
  uint64_t address;
  bool seen;
};
static struct mark marks[32];
static size_t n_marks;

// Called from a signal handler too: one write, so that lines stay whole.
static void report(const char* event, uint64_t not_yet) {
  char line[384];
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  int n = snprintf(line, sizeof line,
                   "{\"event\": \"%s\", \"insns\": %" PRIu64 ", \"rep_repeats\": %" PRIu64
                   ", \"idle\": %" PRIu64 ", \"program\": %" PRIu64 ", \"blocks\": %" PRIu64
                   ", \"faults\": %" PRIu64 ", \"pages\": %" PRIu64 ", \"ns\": %" PRIu64 "}\n",
                   event, counting ? busy - repeats - not_yet : 0, repeats, idle, program, blocks,
                   faults, touched, (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec);
  if (write(out, line, n) != n)
    abort();
}

// A mark inside a block: the block's instructions from the mark on are counted already.
struct mark_site {
  struct mark* mark;
  uint64_t not_yet;
};

static void at_mark(unsigned vcpu, void* data) {
  (void)vcpu;
  const struct mark_site* site = data;
  if (site->mark->seen)
    return;
  site->mark->seen = true;
  report(site->mark->name, site->not_yet);
  if (in_log) {
    char line[64];
    snprintf(line, sizeof line, "mark %s\n", site->mark->name);
    qemu_plugin_outs(line);
  }
}

// --- pages ---

// One bit a page of RAM, by physical address; what lies beyond counts as device memory.
enum { page_shift = 12, max_pages = 1 << 22 }; // 16 GB
static uint8_t seen_pages[max_pages / 8];

static void touch(uint64_t physical) {
  const uint64_t page = physical >> page_shift;
  if (page >= max_pages || (seen_pages[page / 8] & 1 << page % 8))
    return;
  seen_pages[page / 8] |= 1 << page % 8;
  touched++;
}

// Code is known by where it lies in QEMU's own memory. A page both executed and accessed as data is
// counted twice, which an image with separate sections has none of.
static void touch_code(const void* host) {
  static uintptr_t known[1 << 14];
  const uintptr_t page = (uintptr_t)host >> page_shift;
  const size_t size = sizeof known / sizeof known[0];
  for (size_t i = 0, at = page * 31 % size; page && i < size; i++, at = (at + 1) % size) {
    if (known[at] == page)
      return;
    if (!known[at]) {
      known[at] = page;
      touched++;
      return;
    }
  }
}

static void at_access(unsigned vcpu, qemu_plugin_meminfo_t info, uint64_t address, void* data) {
  (void)vcpu;
  (void)data;
  const struct qemu_plugin_hwaddr* where = qemu_plugin_get_hwaddr(info, address);
  if (where && !qemu_plugin_hwaddr_is_io(where))
    touch(qemu_plugin_hwaddr_phys_addr(where));
}

// A rep instruction ends its block, and its next iteration is a block of that one instruction. So
// it is a repeat if it ran last and nothing but this one instruction has been counted since.
static void at_rep(unsigned vcpu, void* address) {
  (void)vcpu;
  static void* last;
  static uint64_t count_then;
  const uint64_t count = busy + idle;
  if (address == last && count == count_then + 1)
    repeats++;
  last = address;
  count_then = count;
}

static bool is_rep_string(const uint8_t* code, size_t size) {
  bool rep = false;
  for (size_t i = 0; i < size; i++) {
    switch (code[i]) {
    case 0xf2:
    case 0xf3:
      rep = true;
      continue;
    case 0x26:
    case 0x2e:
    case 0x36:
    case 0x3e:
    case 0x64:
    case 0x65:
    case 0x66:
    case 0x67:
      continue;
    }
    if ((code[i] & 0xf0) == 0x40) // REX in 64-bit code; in 32-bit code inc/dec, never after rep
      continue;
    const uint8_t op = code[i];
    return rep &&
           ((op >= 0x6c && op <= 0x6f) || (op >= 0xa4 && op <= 0xa7) || (op >= 0xaa && op <= 0xaf));
  }
  return false;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb* tb) {
  (void)id;
  const size_t n = qemu_plugin_tb_n_insns(tb);
  uint64_t in_idle = 0, in_program = 0;
  blocks++;
  for (size_t i = 0; i < n; i++) {
    struct qemu_plugin_insn* insn = qemu_plugin_tb_get_insn(tb, i);
    const uint64_t address = qemu_plugin_insn_vaddr(insn);
    if (address >= idle_start && address < idle_end)
      in_idle++;
    in_program += address >= 0x400000 && !(address >> 63);
    if (counting && is_rep_string(qemu_plugin_insn_data(insn), qemu_plugin_insn_size(insn)))
      qemu_plugin_register_vcpu_insn_exec_cb(insn, at_rep, CB_NO_REGS, (void*)(uintptr_t)address);
    if (counting && fault_address && address == fault_address)
      qemu_plugin_register_vcpu_insn_exec_inline(insn, INLINE_ADD_U64, &faults, 1);
    if (with_pages) {
      qemu_plugin_register_vcpu_mem_cb(insn, at_access, CB_NO_REGS, MEM_RW, NULL);
      touch_code(qemu_plugin_insn_haddr(insn));
    }
    for (size_t m = 0; m < n_marks; m++) {
      if (marks[m].address != address || marks[m].seen)
        continue;
      struct mark_site* site = malloc(sizeof *site); // lives as long as the translated block
      if (!site)
        abort();
      *site = (struct mark_site){&marks[m], n - i};
      qemu_plugin_register_vcpu_insn_exec_cb(insn, at_mark, CB_NO_REGS, site);
    }
  }
  if (!counting)
    return;
  if (in_program)
    qemu_plugin_register_vcpu_tb_exec_inline(tb, INLINE_ADD_U64, &program, in_program);
  if (in_idle < n)
    qemu_plugin_register_vcpu_tb_exec_inline(tb, INLINE_ADD_U64, &busy, n - in_idle);
  if (in_idle)
    qemu_plugin_register_vcpu_tb_exec_inline(tb, INLINE_ADD_U64, &idle, in_idle);
}

static void at_exit(qemu_plugin_id_t id, void* data) {
  (void)id;
  (void)data;
  report("exit", 0);
}

static void at_signal(int signal) {
  (void)signal;
  report("signal", 0);
}

static bool parse(char* argument) {
  char* value = strchr(argument, '=');
  if (!value)
    return false;
  *value++ = 0;
  if (!strcmp(argument, "out")) {
    out = open(value, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    return out >= 0;
  }
  if (!strcmp(argument, "log"))
    return in_log = true;
  if (!strcmp(argument, "count")) {
    counting = strcmp(value, "0") != 0;
    return true;
  }
  if (!strcmp(argument, "pages"))
    return with_pages = true;
  if (!strcmp(argument, "fault")) {
    fault_address = strtoull(value, NULL, 16);
    return fault_address;
  }
  char* second = strchr(value, ':');
  if (!second)
    return false;
  *second++ = 0;
  if (!strcmp(argument, "idle")) {
    idle_start = strtoull(value, NULL, 16);
    idle_end = strtoull(second, NULL, 16);
    return idle_start < idle_end;
  }
  if (!strcmp(argument, "at") && n_marks < sizeof marks / sizeof marks[0]) {
    marks[n_marks++] = (struct mark){strdup(value), strtoull(second, NULL, 16), false};
    return true;
  }
  return false;
}

int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t* info, int argc, char** argv) {
  for (int i = 0; i < argc; i++) {
    if (!parse(argv[i])) {
      fprintf(stderr, "insn_count: cannot use argument '%s'\n", argv[i]);
      return 1;
    }
  }
  if (out < 0 || !info->system_emulation || info->system.max_vcpus > 1) {
    fprintf(stderr, "insn_count: needs out=FILE and a machine of one vCPU\n");
    return 1;
  }
  const struct sigaction action = {.sa_handler = at_signal, .sa_flags = SA_RESTART};
  sigaction(SIGUSR2, &action, NULL);
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_atexit_cb(id, at_exit, NULL);
  return 0;
}
