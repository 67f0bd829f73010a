// Saved execution state of a thread that is not running, trap frames, and the switch itself.
//
// A voluntary switch happens at a call boundary: callee-saved registers go on the kernel stack, and
// of the vector unit only MXCSR and the x87 control word are kept (the rest is caller-saved by the
// ABI and the kernel itself uses none of it). Where the application was interrupted at an
// arbitrary instruction (preemption, a fault that sleeps, a signal), the trap path saves the whole
// vector state around the switch.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace oblako::arch {

struct context {
  uint64_t stack_pointer = 0;
  uint64_t fs_base = 0; // the application's thread pointer
};

// General registers as the entry stubs push them; lies on a kernel stack. `error_code` is 0 where
// the CPU pushes none. Order is shared with arch/x64/traps.S.
struct trap_frame {
  uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
  uint64_t rbp, rdi, rsi, rdx, rcx, rbx, rax;
  uint64_t vector, error_code;
  uint64_t rip, cs, rflags, rsp, ss;
};
static_assert(sizeof(trap_frame) == 22 * 8);

// True if the interrupted instruction is kernel code.
inline bool from_kernel(const trap_frame& f) {
  return static_cast<int64_t>(f.rip) < 0;
}

// Switches stacks; returns when somebody switches back to `from`. Interrupts are off.
void switch_context(context& from, context& to);
// Prepares a context that starts at entry(argument) on the given kernel stack with interrupts on.
void prepare_context(context& c, uintptr_t kernel_stack_top, void (*entry)(void*), void* argument);
// A new context starts here, on its own stack, before its entry function and with interrupts off:
// completes the switch (core/sched/sched.cc).
extern "C" void oblako_finish_switch();

constexpr uint64_t rflags_fixed = 1u << 1; // always set
constexpr uint64_t rflags_trap = 1u << 8;
constexpr uint64_t rflags_interrupts = 1u << 9;
// Fills in the kernel's own selectors: everything runs in ring 0.
void fill_segments(trap_frame& frame);
// x87 and SSE control words as a new thread or a signal handler finds them.
void reset_vector_control();

// Leaves the kernel for application code: general registers zero except as given, vector state
// initial, interrupts on. Never returns.
[[noreturn]] void enter_application(uint64_t rip, uint64_t rsp, uint64_t rdi);
// Leaves the kernel into exactly this state (return from signal, preemption).
[[noreturn]] void resume(trap_frame& frame);
void set_fs_base(uint64_t value); // of the running thread, and its context when it is switched away

// The vector state area: size depends on the CPU (XSAVE), 64-byte aligned. The first
// legacy_vector_state_size bytes have FXSAVE's layout; without XSAVE there is nothing more.
constexpr size_t legacy_vector_state_size = 512;
size_t vector_state_size();
uint64_t vector_features();         // XCR0; 0 without XSAVE
void save_vector_state(void* area); // area is zeroed by the callee where XSAVE needs it
void restore_vector_state(
    const void* area); // area must have been checked if the application saw it

} // namespace oblako::arch

// Upcall (core/posix/boundary.cc): the rest of an interrupt or exception that hit application code.
// Reschedules and delivers signals until nothing is pending. The vector registers are the
// application's, before and after. Context: thread, on its kernel stack; interrupts are off on
// return.
extern "C" [[gnu::weak]] void oblako_return_to_application(oblako::arch::trap_frame* frame,
                                                           bool full_state);
