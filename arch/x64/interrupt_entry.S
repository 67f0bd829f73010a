// Interrupt entry stubs, vectors 32 to 255; linked only if interrupts are used. A handler runs on the
// interrupt IST stack. If application code was interrupted and something is pending for its thread
// (reschedule, signal), the frame moves to the thread's kernel stack before that is dealt with:
// whatever sleeps must not do so on an IST stack.

#include "arch/x64/interrupt_gate.h"
#include "arch/x64/trap_layout.h"

  .section .text.entry.interrupts, "ax"

  // Among the first text of the image, as descriptors need it: see interrupt_gate.h.
  .globl interrupt_stubs
  .p2align 4
interrupt_stubs:
  .set vector_number, 32
  .rept 224
  .p2align 4
  push $0
  push $vector_number
  jmp interrupt_entry
  .set vector_number, vector_number + 1
  .endr

  .p2align 4
interrupt_entry:
  push_registers
  cld
  mov 15 * 8(%rsp), %edi
  call oblako_dispatch_interrupt
  cmpl $0, %gs:24
  jne 2f
1:
  pop_registers
  add $16, %rsp
  iretq
2:
  cmpq $0, frame_rip(%rsp)
  jl 3f
  mov %gs:8, %rdi
  sub $frame_bytes, %rdi
  and $-16, %rdi
  mov %rsp, %rsi
  mov %rdi, %rdx
  mov $frame_bytes / 8, %ecx
  rep movsq
  mov %rdx, %rsp
  mov %rdx, %rdi
  mov $1, %esi
  call oblako_return_to_application
  jmp 1b
3:
  // Kernel code: its boundary will look, or, if it is past that, another interrupt.
  mov %rsp, %rdi
  call oblako_pending_in_kernel
  jmp 1b

  .section .rodata.interrupt_idt, "a", @progbits
  .globl interrupt_idt, interrupt_idt_end
  .p2align 4
interrupt_idt:
  exception_gates
  .reloc ., R_X86_64_NONE, interrupt_stubs
  .set gate_number, 0
  .rept 224
  interrupt_gate interrupt_stubs_bits_0, interrupt_stubs_bits_16, gate_number, ist_interrupt
  .set gate_number, gate_number + 1
  .endr
interrupt_idt_end:
