// Stack layout shared by the entry stubs: arch::trap_frame in arch/x64/context.hh, for assembly.
#define frame_bytes (22 * 8)
#define frame_rip (17 * 8)
#define frame_rsp (20 * 8)
#define kernel_stack_bytes (16 * 1024)
#define lowest_application_address 0x10000

  .macro push_registers
  push %rax
  push %rbx
  push %rcx
  push %rdx
  push %rsi
  push %rdi
  push %rbp
  push %r8
  push %r9
  push %r10
  push %r11
  push %r12
  push %r13
  push %r14
  push %r15
  .endm

  .macro pop_registers
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %r11
  pop %r10
  pop %r9
  pop %r8
  pop %rbp
  pop %rdi
  pop %rsi
  pop %rdx
  pop %rcx
  pop %rbx
  pop %rax
  .endm
