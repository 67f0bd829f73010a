// Descriptor tables, and exceptions sorted: page faults to core/mem, errors of the application to
// core/posix as signals, everything of our own to a panic (Intel SDM vol. 3, chapter 6).
#include "arch/x64/traps.hh"
#include "arch/x64/cpu.hh"
#include "arch/x64/crash.hh"
#include "arch/x64/msr.hh"
#include "arch/x64/percpu.hh"
#include "core/log/log.hh"
#include "core/mem/app_memory.hh"
#include "core/mem/areas.hh"
#include "core/sched/thread.hh"
#include <signal.h>

extern "C" char exception_stubs[];
extern "C" uintptr_t find_fixup(uintptr_t rip);
extern "C" [[gnu::weak]] void oblako_fault_signal(oblako::arch::trap_frame*, int, int, uintptr_t);
extern "C" [[gnu::weak]] void oblako_pending_in_kernel(const oblako::arch::trap_frame*);

namespace oblako::arch {
namespace {

struct [[gnu::packed]] task_state_segment {
  uint32_t reserved0;
  uint64_t rsp[3];
  uint64_t reserved1;
  uint64_t ist[7];
  uint64_t reserved2;
  uint16_t reserved3;
  uint16_t io_map_base;
};
static_assert(sizeof(task_state_segment) == 104);

struct idt_entry {
  uint16_t offset_low;
  uint16_t selector;
  uint8_t ist;
  uint8_t type;
  uint16_t offset_middle;
  uint32_t offset_high;
  uint32_t reserved;
};
static_assert(sizeof(idt_entry) == 16);

struct [[gnu::packed]] table_pointer {
  uint16_t limit;
  const void* base;
};

constexpr uint16_t code_selector = 0x08, tss_selector = 0x18;
constexpr uint8_t interrupt_gate = 0x8e;
constexpr size_t stub_spacing = 16;
constexpr unsigned exception_count = 32, vector_count = 256;
enum vector : uint8_t {
  vec_divide = 0,
  vec_debug = 1,
  vec_nmi = 2,
  vec_breakpoint = 3,
  vec_overflow = 4,
  vec_bound = 5,
  vec_invalid_opcode = 6,
  vec_double_fault = 8,
  vec_stack = 12,
  vec_protection = 13,
  vec_page_fault = 14,
  vec_x87 = 16,
  vec_alignment = 17,
  vec_machine_check = 18,
  vec_simd = 19,
};
enum ist : uint8_t {
  ist_exception = 1,
  ist_interrupt = 2,
  ist_nmi = 3,
  ist_double_fault = 4,
  ist_machine_check = 5
};

// Exceptions stay on their IST stack only for the copy to the kernel stack; interrupt handlers run
// on theirs; the last three only report.
constexpr size_t exception_stack_bytes = 512, interrupt_stack_bytes = 8192,
                 report_stack_bytes = 4096;
alignas(16) char exception_stack[exception_stack_bytes];
alignas(16) char interrupt_stack[interrupt_stack_bytes];
alignas(16) char report_stack[report_stack_bytes];

task_state_segment tss;
idt_entry idt[vector_count];
uint64_t gdt[5] = {0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0, 0};

// Points `count` vectors at stubs in a row.
void set_gates(unsigned first, unsigned count, const char* stubs, uint8_t stack) {
  auto address = reinterpret_cast<uint64_t>(stubs);
  for (idt_entry* e = idt + first; count; ++e, --count, address += stub_spacing)
    *e = {static_cast<uint16_t>(address),
          code_selector,
          stack,
          interrupt_gate,
          static_cast<uint16_t>(address >> 16),
          static_cast<uint32_t>(address >> 32),
          0};
}

uint64_t stack_top(char* stack, size_t bytes) {
  return reinterpret_cast<uint64_t>(stack + bytes);
}

void load_tss() {
  tss.ist[ist_exception - 1] = stack_top(exception_stack, exception_stack_bytes);
  tss.ist[ist_interrupt - 1] = stack_top(interrupt_stack, interrupt_stack_bytes);
  const uint64_t report = stack_top(report_stack, report_stack_bytes);
  tss.ist[ist_nmi - 1] = tss.ist[ist_double_fault - 1] = tss.ist[ist_machine_check - 1] = report;
  tss.io_map_base = sizeof(tss);
  const auto base = reinterpret_cast<uint64_t>(&tss);
  gdt[3] = (sizeof(tss) - 1) | (base & 0xffffff) << 16 | uint64_t{0x89} << 40 |
           (base >> 24 & 0xff) << 56;
  gdt[4] = base >> 32;
  const table_pointer pointer{sizeof(gdt) - 1, gdt};
  asm volatile("lgdt %0" ::"m"(pointer));
  asm volatile("ltr %0" ::"r"(tss_selector));
}

struct signal_code {
  int signal, code;
};
signal_code signal_for(uint64_t vector) {
  switch (vector) {
  case vec_divide:
    return {SIGFPE, FPE_INTDIV};
  case vec_debug:
    return {SIGTRAP, TRAP_TRACE};
  case vec_breakpoint:
    return {SIGTRAP, TRAP_BRKPT};
  case vec_overflow:
  case vec_bound:
    return {SIGSEGV, SEGV_MAPERR};
  case vec_invalid_opcode:
    return {SIGILL, ILL_ILLOPN};
  case vec_x87:
  case vec_simd:
    return {SIGFPE, FPE_FLTINV};
  case vec_alignment:
    return {SIGBUS, BUS_ADRALN};
  case vec_stack:
  case vec_protection:
  default:
    return {SIGSEGV, SI_KERNEL};
  }
}

void raise_fault(trap_frame* frame, signal_code s, uintptr_t address) {
  if (oblako_fault_signal)
    oblako_fault_signal(frame, s.signal, s.code, address);
  else
    oblako_fatal_signal(frame, s.signal, s.code, address);
}

void page_fault(trap_frame* frame) {
  const uintptr_t address = read_cr2();
  const mem::fault_kind kind{.present = (frame->error_code & 1) != 0,
                             .write = (frame->error_code & 2) != 0,
                             .fetch = (frame->error_code & 16) != 0};
  auto outcome = mem::fault_outcome::bad_address;
  if (mem::in_app_range(address, 1)) {
    if (this_cpu().spinlock_depth || this_cpu().interrupt_depth)
      crash_with_frame(*frame, "application memory %p touched under a spinlock or in an interrupt",
                       reinterpret_cast<void*>(address));
    // The fault may wait for a lock or memory: interrupts as they were.
    if (frame->rflags & 0x200)
      enable_interrupts();
    outcome = mem::handle_fault(address, kind);
    disable_interrupts();
    if (outcome == mem::fault_outcome::resolved)
      return;
  }
  if (outcome == mem::fault_outcome::out_of_memory)
    report_out_of_memory(*frame);
  if (from_kernel(*frame)) {
    if (const uintptr_t fixup = find_fixup(frame->rip)) {
      frame->rip = fixup;
      return;
    }
    crash_with_frame(*frame, "page fault in the kernel at address %p (error code %lx)",
                     reinterpret_cast<void*>(address), frame->error_code);
  }
  signal_code s{SIGSEGV, outcome == mem::fault_outcome::bad_permission ? SEGV_ACCERR : SEGV_MAPERR};
  if (outcome == mem::fault_outcome::bus_error)
    s = {SIGBUS, BUS_ADRERR};
  raise_fault(frame, s, address);
}

void sort_exception(trap_frame* frame) {
  if (frame->vector == vec_page_fault)
    return page_fault(frame);
  if (from_kernel(*frame)) {
    // A marked access to a non-canonical address raises #GP rather than a page fault.
    if (const uintptr_t fixup = find_fixup(frame->rip)) {
      frame->rip = fixup;
      return;
    }
    crash_with_frame(*frame, "exception %lu in the kernel (error code %lx)", frame->vector,
                     frame->error_code);
  }
  raise_fault(frame, signal_for(frame->vector), frame->vector == vec_protection ? 0 : frame->rip);
}
} // namespace

void initialise_traps() {
  load_tss();
  set_gates(0, exception_count, exception_stubs, ist_exception);
  idt[vec_nmi].ist = ist_nmi;
  idt[vec_double_fault].ist = ist_double_fault;
  idt[vec_machine_check].ist = ist_machine_check;
  const table_pointer pointer{sizeof(idt) - 1, idt};
  asm volatile("lidt %0" ::"m"(pointer));
}

void set_interrupt_gates(const char* stubs) {
  set_gates(exception_count, vector_count - exception_count, stubs, ist_interrupt);
}

extern "C" void oblako_exception(trap_frame* frame) {
  if (from_kernel(*frame)) {
    sort_exception(frame);
    // A leaf call that faulted on the application's stack has no boundary ahead.
    if (pending_work() && oblako_pending_in_kernel)
      oblako_pending_in_kernel(frame);
    return;
  }
  sched::thread& self = sched::current();
  self.vector_state_live = true; // for the case that it has to wait
  sort_exception(frame);
  self.vector_state_live = false;
  if (pending_work())
    oblako_return_to_application(frame, true);
}

extern "C" [[noreturn]] void oblako_fatal_exception(trap_frame* frame) {
  crash_with_frame(*frame, "%s",
                   frame->vector == vec_nmi            ? "non-maskable interrupt"
                   : frame->vector == vec_double_fault ? "double fault (kernel stack overflow?)"
                                                       : "machine check");
}

} // namespace oblako::arch
