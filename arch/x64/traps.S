// Exception entry stubs. Every exception runs on an IST stack first, because application code uses
// the red zone below its stack pointer; an IST stack starts at its top again on the next entry, so
// everything but NMI, double fault and machine check moves to the thread's kernel stack at once.

#include "arch/x64/trap_layout.h"

  .section .text.entry, "ax"

  .globl exception_stubs
  .p2align 4
exception_stubs:
  // The CPU pushes an error code for vectors 8, 10 to 14, 17, 21, 29 and 30; the stub for the rest.
  .set vector_number, 0
  .rept 32
  .p2align 4
  .if ((0x60227d00 >> vector_number) & 1) == 0
  push $0
  .endif
  push $vector_number
  .if (vector_number == 2) || (vector_number == 8) || (vector_number == 18)
  jmp fatal_entry
  .else
  jmp exception_entry
  .endif
  .set vector_number, vector_number + 1
  .endr

exception_entry:
  push_registers
  cld
  // Where the frame goes: below the interrupted stack pointer if that is this thread's kernel
  // stack, else to the top of the kernel stack. Application code has nothing there, wherever its
  // stack pointer strayed to.
  mov %gs:8, %rdi
  cmpq $lowest_application_address, frame_rip(%rsp)
  jge 1f
  mov frame_rsp(%rsp), %rax
  mov %rdi, %rcx
  sub %rax, %rcx
  cmp $kernel_stack_bytes, %rcx
  cmovb %rax, %rdi
1:
  sub $frame_bytes, %rdi
  and $-16, %rdi
  mov %rsp, %rsi
  mov %rdi, %rdx
  mov $frame_bytes / 8, %ecx
  rep movsq
  mov %rdx, %rsp
  mov %rdx, %rdi
  call oblako_exception
  .globl trap_return
trap_return:
  pop_registers
  add $16, %rsp
  iretq

  .weak oblako_nmi
fatal_entry:
  push_registers
  cld
  // An NMI is a question: nmi.cc answers it where there may be several threads.
  cmpq $2, 15 * 8(%rsp)
  jne 1f
  mov %rsp, %rdi
  mov $oblako_nmi, %rax
  mov $oblako_nmi_alone, %rcx
  test %rax, %rax
  cmovz %rcx, %rax
  call *%rax
  pop_registers
  add $16, %rsp
  iretq
1:
  mov %rsp, %rdi
  call oblako_fatal_exception
  ud2
