// A TCG plugin that counts guest instructions, for QEMU's plugin interface version 1 (QEMU 7.2).
// The interface's header is not packaged, so what is used of it is declared here.
//
//   -plugin libinsn_count.so,out=FILE[,idle=START:END][,at=NAME:ADDRESS]...   (numbers in hex)
//
// Every count is split in three: instructions; repeats of one `rep` string instruction beyond its
// first (under TCG each iteration executes the instruction again; a processor does not); and
// instructions inside the idle range. Appended to FILE, a line of JSON each time: at exit, on
// SIGUSR2, and per `at` address, whose counts are those just before its first execution.
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

extern void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t,
                                                  void (*)(qemu_plugin_id_t,
                                                           struct qemu_plugin_tb*));
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb*, int op, void* counter,
                                                     uint64_t value);
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn*,
                                                   void (*)(unsigned vcpu, void*), int flags,
                                                   void*);
extern void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, void*),
                                           void*);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb*);
extern struct qemu_plugin_insn* qemu_plugin_tb_get_insn(const struct qemu_plugin_tb*, size_t);
extern const void* qemu_plugin_insn_data(const struct qemu_plugin_insn*);
extern size_t qemu_plugin_insn_size(const struct qemu_plugin_insn*);
extern uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn*);

EXPORT int qemu_plugin_version = 1;
EXPORT int qemu_plugin_install(qemu_plugin_id_t, const qemu_info_t*, int, char**);

// --- counting ---

static uint64_t busy; // outside the idle range, repeats included
static uint64_t idle;
static uint64_t repeats; // of rep instructions, the first execution not among them

static uint64_t idle_start, idle_end;
static int out = -1;

struct mark {
  const char* name;
  uint64_t address;
  bool seen;
};
static struct mark marks[32];
static size_t n_marks;

// Called from a signal handler too: one write, so that lines stay whole.
static void report(const char* event, uint64_t not_yet) {
  char line[256];
  int n = snprintf(line, sizeof line,
                   "{\"event\": \"%s\", \"insns\": %" PRIu64 ", \"rep_repeats\": %" PRIu64
                   ", \"idle\": %" PRIu64 "}\n",
                   event, busy - repeats - not_yet, repeats, idle);
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
  uint64_t in_idle = 0;
  for (size_t i = 0; i < n; i++) {
    struct qemu_plugin_insn* insn = qemu_plugin_tb_get_insn(tb, i);
    const uint64_t address = qemu_plugin_insn_vaddr(insn);
    if (address >= idle_start && address < idle_end)
      in_idle++;
    if (is_rep_string(qemu_plugin_insn_data(insn), qemu_plugin_insn_size(insn)))
      qemu_plugin_register_vcpu_insn_exec_cb(insn, at_rep, CB_NO_REGS, (void*)(uintptr_t)address);
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
