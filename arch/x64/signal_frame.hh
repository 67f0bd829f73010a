// What of a signal frame is the processor's: Linux's layout of registers and vector state on the
// application's stack, so that handlers find what <ucontext.h> describes. Values that come back are
// the application's to garble; nothing here trusts them.
// Spec: Linux's struct rt_sigframe, sigcontext and _fpx_sw_bytes for x86-64.
#pragma once

#include "arch/x64/context.hh"
#include <stddef.h>
#include <stdint.h>

namespace oblako::arch {

struct signal_registers {
  uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
  uint64_t rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, rflags;
  uint16_t cs, gs, fs, ss;
  uint64_t error_code, vector, old_mask, fault_address;
  uint64_t vector_state;       // application address; 0: none
  uint64_t cancellation_point; // first of Linux's reserved words
  uint64_t reserved[7];
};
static_assert(sizeof(signal_registers) == 256);

struct alternate_stack { // stack_t
  uint64_t base;
  int32_t flags;
  uint32_t padding;
  uint64_t size;
};

struct signal_frame {
  uint64_t restorer; // return address of the handler
  uint64_t flags;
  uint64_t link;
  alternate_stack stack;
  signal_registers registers;
  uint64_t mask;
  uint8_t info[128]; // siginfo_t
};
static_assert(offsetof(signal_frame, info) == 8 + 304);

constexpr uint64_t frame_has_extended_state = 1, frame_has_stack_segment = 2 | 4;

void store_registers(signal_registers& to, const trap_frame& from);
// Takes over what the application may change; the rest is as for any application code.
void load_registers(trap_frame& to, const signal_registers& from);

// Vector state as a signal frame holds it: the area with a description in its unused bytes and, if
// it is extended, a mark behind it.
size_t signal_vector_bytes();
// Saves the CPU's present vector registers. `area` is 64-byte aligned.
void store_vector_state(void* area);
// Makes what an application left in the area safe to restore. `bytes` of it are the application's;
// the buffer has signal_vector_bytes().
void check_vector_state(void* area, size_t bytes);

} // namespace oblako::arch
