// The system-call boundary. Applications call `long sys_NAME(...)` directly. A leaf call (one that
// cannot block, takes no lock and is short) is simply an extern "C" function of that name. Every
// other call is two functions: sys_NAME, a stub made here that moves to the thread's kernel stack,
// and do_NAME, its implementation there:
//
//   OBLAKO_SYSCALL(sys_listen, do_listen);
//   extern "C" long do_listen(int fd, int backlog) { ... return -errno or value; }
//
// The stub clears the direction flag first: the application may have left it set by mistake, and
// the kernel's string instructions would then run backwards. Leaf calls use no string
// instruction (arch::clear_direction_flag() where one does).
//
// On the way back the stub looks at percpu::pending once (reschedule, signals). What follows then
// is referred to weakly: whoever may set something pending links it.
// OBLAKO_SYSCALL_RESTARTABLE also keeps the arguments, so that a do_ function that returns
// -error::restart is called again after a handler with SA_RESTART, or turned into -EINTR.
#pragma once

// clang-format off
#define OBLAKO_SYSCALL(stub, implementation)                                                       \
  asm(".pushsection .text." #stub ",\"ax\",@progbits\n"                                            \
      ".weak syscall_exit_slow\n"                                                                   \
      ".globl " #stub "\n.type " #stub ",@function\n.p2align 4\n" #stub ":\n"                      \
      "  cld\n"                                                                                    \
      "  mov %gs:8, %rax\n"              /* percpu::kernel_stack_top */                            \
      "  mov %rsp, -16(%rax)\n"                                                                    \
      "  lea -16(%rax), %rsp\n"                                                                    \
      "  call " #implementation "\n"                                                               \
      "  cmpl $0, %gs:24\n"              /* percpu::pending */                                     \
      "  jne syscall_exit_slow\n"                                                                  \
      "  mov (%rsp), %rsp\n"                                                                       \
      "  ret\n"                                                                                    \
      ".size " #stub ", .-" #stub "\n.popsection\n")

#define OBLAKO_SYSCALL_RESTARTABLE(stub, implementation)                                           \
  asm(".pushsection .text." #stub ",\"ax\",@progbits\n"                                            \
      ".weak syscall_exit_slow_restartable\n"                                                       \
      ".globl " #stub "\n.type " #stub ",@function\n.p2align 4\n" #stub ":\n"                      \
      "  cld\n"                                                                                    \
      "  mov %gs:8, %rax\n"                                                                        \
      "  mov %rsp, -16(%rax)\n"                                                                    \
      "  lea -16(%rax), %rsp\n"                                                                    \
      "  push %rdi\n  push %rsi\n  push %rdx\n  push %rcx\n  push %r8\n  push %r9\n"               \
      "  call " #implementation "\n"                                                               \
      "  cmpl $0, %gs:24\n"                                                                        \
      "  jne 1f\n"                                                                                 \
      "  mov 48(%rsp), %rsp\n"                                                                     \
      "  ret\n"                                                                                    \
      "1: lea " #stub "(%rip), %rcx\n"                                                             \
      "  jmp syscall_exit_slow_restartable\n"                                                      \
      ".size " #stub ", .-" #stub "\n.popsection\n")
// clang-format on
