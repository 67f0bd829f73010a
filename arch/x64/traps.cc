// Loads the descriptor tables, and sorts exceptions: page faults to core/mem, errors of the
// application to core/posix as signals, everything of our own to a panic (Intel SDM vol. 3, chapter
// 6).
#include "arch/x64/traps.hh"
#include "arch/x64/cpu.hh"
#include "arch/x64/crash.hh"
#include "arch/x64/msr.hh"
#include "arch/x64/percpu.hh"
#include "arch/x64/serial.hh"
#include "core/log/log.hh"
#include "core/mem/app_memory.hh"
#include "core/mem/areas.hh"
#include "core/sched/thread.hh"
#include <signal.h>

// arch/x64/descriptor_tables.S
extern "C" const char boot_gdt[], boot_gdt_end[], exception_idt[], exception_idt_end[];
extern "C" char task_state_descriptor[]; // read-only from map_image() on
extern "C" uintptr_t find_fixup(uintptr_t rip);
extern "C" [[gnu::weak]] void oblako_fault_signal(oblako::arch::trap_frame*, int, int, uintptr_t);
extern "C" [[gnu::weak]] void oblako_pending_in_kernel(const oblako::arch::trap_frame*);

namespace oblako::arch {
namespace {

struct [[gnu::packed]] table_pointer {
  uint16_t limit;
  const void* base;
};

constexpr uint16_t tss_selector = 0x18;
enum vector : uint8_t {
  vec_divide = 0,
  vec_debug = 1,
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

// True if a fault that nobody expected is the kernel's own. It is the application's although the
// instruction is not where the stack is the application's: a leaf call or the return of a stub on a
// bad stack, or a jump to nowhere.
bool fault_of_kernel(const trap_frame& f) {
  constexpr uint64_t kernel_half = 0xffff800000000000;
  return !mem::in_app_range(f.rip, 1) && f.rsp >= kernel_half;
}

void raise_fault(trap_frame* frame, signal_code s, uintptr_t address) {
  if (oblako_fault_signal)
    oblako_fault_signal(frame, s.signal, s.code, address);
  else
    oblako_fatal_signal(frame, s.signal, s.code, address);
}

// Where a marked instruction of the kernel goes on after a fault.
bool take_fixup(trap_frame& frame) {
  const uintptr_t fixup = from_kernel(frame) ? find_fixup(frame.rip) : 0;
  if (fixup)
    frame.rip = fixup;
  return fixup != 0;
}

void page_fault(trap_frame* frame) {
  const uintptr_t address = read_cr2();
  const mem::fault_kind kind{.present = (frame->error_code & 1) != 0,
                             .write = (frame->error_code & 2) != 0,
                             .fetch = (frame->error_code & 16) != 0};
  auto outcome = mem::fault_outcome::bad_address;
  if (mem::in_app_range(address, 1) && !crashing) {
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
  if (take_fixup(*frame))
    return;
  if (fault_of_kernel(*frame))
    crash_with_frame(*frame, "page fault in the kernel at address %p (error code %lx)",
                     reinterpret_cast<void*>(address), frame->error_code);
  signal_code s{SIGSEGV, outcome == mem::fault_outcome::bad_permission ? SEGV_ACCERR : SEGV_MAPERR};
  if (outcome == mem::fault_outcome::bus_error)
    s = {SIGBUS, BUS_ADRERR};
  raise_fault(frame, s, address);
}

void sort_exception(trap_frame* frame) {
  if (frame->vector == vec_page_fault)
    return page_fault(frame);
  // A marked access to a non-canonical address raises #GP rather than a page fault.
  if (take_fixup(*frame))
    return;
  if (frame->vector == vec_debug && from_kernel(*frame)) {
    frame->rflags &= ~rflags_trap; // the application steps into a call
    return;
  }
  if (fault_of_kernel(*frame))
    crash_with_frame(*frame, "exception %lu in the kernel (error code %lx)", frame->vector,
                     frame->error_code);
  raise_fault(frame, signal_for(frame->vector), frame->vector == vec_protection ? 0 : frame->rip);
}
} // namespace

void initialise_traps() {
  const table_pointer segments{static_cast<uint16_t>(boot_gdt_end - boot_gdt - 1), boot_gdt};
  asm volatile("lgdt %0" ::"m"(segments));
  // Not busy, also after a reset that did not load the image again.
  task_state_descriptor[5] = 0x89;
  asm volatile("ltr %0" ::"r"(tss_selector) : "memory");
  load_interrupt_table(exception_idt, exception_idt_end);
}

void load_interrupt_table(const char* start, const char* end) {
  const table_pointer pointer{static_cast<uint16_t>(end - start - 1), start};
  asm volatile("lidt %0" ::"m"(pointer));
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
                   frame->vector == vec_double_fault ? "double fault (kernel stack overflow?)"
                                                     : "machine check");
}

// Where nmi.cc is not linked: one thread, so that the registers are all there is to say. Takes no
// lock.
extern "C" void oblako_nmi_alone(const trap_frame* f) {
  char text[128];
  const size_t length = log::format(
      text, sizeof text, "oblako: non-maskable interrupt: rip %016lx rsp %016lx\n", f->rip, f->rsp);
  serial_write(text, length);
}

} // namespace oblako::arch
