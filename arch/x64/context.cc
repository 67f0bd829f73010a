// Context switch and vector state. Spec: Intel SDM vol. 1, 13 (XSAVE); System V ABI 3.2.1 for which
// registers a call preserves.
#include "arch/x64/context.hh"
#include "arch/x64/cpu.hh"
#include "arch/x64/cpu_features.hh"
#include "arch/x64/msr.hh"

extern "C" {
void oblako_switch_stacks(uint64_t* save_rsp, uint64_t load_rsp);
void oblako_context_start();
[[noreturn]] void oblako_resume(oblako::arch::trap_frame* frame);
}

namespace oblako::arch {

static_assert(offsetof(trap_frame, r15) == 0 && offsetof(trap_frame, rbp) == 64 &&
                  offsetof(trap_frame, rbx) == 104 && offsetof(trap_frame, rax) == 112 &&
                  offsetof(trap_frame, rip) == 136,
              "context.S and syscall_exit.S use these offsets");

namespace {

constexpr uint32_t msr_fs_base = 0xc0000100;
constexpr uint16_t initial_x87_control = 0x37f; // all exceptions masked, extended precision
constexpr uint32_t initial_mxcsr = 0x1f80;      // all exceptions masked, round to nearest

void load_fs_base(uint64_t value) {
  if (features.fsgsbase)
    asm volatile("wrfsbase %0" ::"r"(value));
  else
    write_msr(msr_fs_base, value);
}

} // namespace

void switch_context(context& from, context& to) {
  if (from.fs_base != to.fs_base)
    load_fs_base(to.fs_base);
  oblako_switch_stacks(&from.stack_pointer, to.stack_pointer);
}

void prepare_context(context& c, uintptr_t kernel_stack_top, void (*entry)(void*), void* argument) {
  auto* top = reinterpret_cast<uint64_t*>(kernel_stack_top);
  *--top = 0; // ends a backtrace
  *--top = 0;
  *--top = reinterpret_cast<uint64_t>(&oblako_context_start);
  *--top = 0;                                    // rbp
  *--top = reinterpret_cast<uint64_t>(entry);    // rbx
  *--top = reinterpret_cast<uint64_t>(argument); // r12
  *--top = 0;                                    // r13
  *--top = 0;                                    // r14
  *--top = 0;                                    // r15
  // A new thread inherits the floating-point environment of its creator.
  uint32_t control[2] = {};
  asm volatile("stmxcsr %0; fnstcw %1" : "=m"(control[0]), "=m"(control[1]));
  *--top = control[0] | uint64_t{control[1]} << 32;
  c.stack_pointer = reinterpret_cast<uint64_t>(top);
}

void reset_vector_control() {
  asm volatile("fninit; ldmxcsr %0" ::"m"(initial_mxcsr));
}

namespace {
// The registers cleared as well. By one instruction that also those KVMs know which interpret ring
// 0 because the processor under them offers no virtualisation; LDMXCSR they do not.
void reset_vector_state() {
  // The head of FXSAVE's area (Intel SDM vol. 1, 10.5.1).
  struct alignas(16) {
    uint16_t x87_control;
    uint16_t others[11];
    uint32_t mxcsr;
    uint32_t registers[121];
  } area{};
  static_assert(sizeof(area) == legacy_vector_state_size);
  area.x87_control = initial_x87_control;
  area.mxcsr = initial_mxcsr;
  asm volatile("fxrstor %0" ::"m"(area));
}
} // namespace

void fill_segments(trap_frame& frame) {
  asm("mov %%cs, %0" : "=r"(frame.cs));
  asm("mov %%ss, %0" : "=r"(frame.ss));
}

void enter_application(uint64_t rip, uint64_t rsp, uint64_t rdi) {
  trap_frame frame{};
  frame.rip = rip;
  frame.rsp = rsp;
  frame.rdi = rdi;
  frame.rflags = rflags_fixed | rflags_interrupts;
  fill_segments(frame);
  reset_vector_state();
  resume(frame);
}

void resume(trap_frame& frame) {
  disable_interrupts();
  oblako_resume(&frame);
}

void set_fs_base(uint64_t value) {
  load_fs_base(value);
}

} // namespace oblako::arch
