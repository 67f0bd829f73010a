// The marked accesses of app_access.hh. An entry of __ex_table is a pair: the instruction that may
// fault, and where to go on. The section is tied to its code (SHF_LINK_ORDER), so that it is dropped
// with it.

#ifdef OBLAKO_HOST_TEST
#define TABLE_FLAGS "awo" // the tests are position-independent programs
#else
#define TABLE_FLAGS "ao"
#endif

.macro may_fault section, target, instruction:vararg
77: \instruction
  .pushsection __ex_table, TABLE_FLAGS, @progbits, \section
  .balign 8
  .quad 77b, \target
  .popsection
.endm

#define COPY .text.app_access_copy
#define ZERO .text.app_access_zero
#define STRING .text.app_access_string

  .section COPY, "ax", @progbits
  // Short ones load and store whole words. After a fault, they are done again by bytes, up to the
  // one that cannot be had: rcx still counts what is left behind rsi and rdi.
  .globl app_access_copy
  .type app_access_copy, @function
  .p2align 4
app_access_copy:
  mov %rdx, %rcx
  cmp $32, %rdx
  ja 3f
  cmp $8, %edx
  jb 1f
  cmp $16, %edx
  ja 2f
  // 8 to 16: first and last 8, which may overlap. All loads come before all stores.
  may_fault COPY, .Lcopy_bytes, mov (%rsi), %rax
  may_fault COPY, .Lcopy_bytes, mov -8(%rsi,%rdx), %r8
  may_fault COPY, .Lcopy_bytes, mov %rax, (%rdi)
  may_fault COPY, .Lcopy_bytes, mov %r8, -8(%rdi,%rdx)
  xor %eax, %eax
  ret
1: // 0 to 7
  cmp $4, %edx
  jb 4f
  may_fault COPY, .Lcopy_bytes, mov (%rsi), %eax
  may_fault COPY, .Lcopy_bytes, mov -4(%rsi,%rdx), %r8d
  may_fault COPY, .Lcopy_bytes, mov %eax, (%rdi)
  may_fault COPY, .Lcopy_bytes, mov %r8d, -4(%rdi,%rdx)
  xor %eax, %eax
  ret
4: // 0 to 3: first, middle and last byte
  test %edx, %edx
  jz 5f
  mov %edx, %r10d
  shr $1, %r10d
  may_fault COPY, .Lcopy_bytes, movzbl (%rsi), %eax
  may_fault COPY, .Lcopy_bytes, movzbl (%rsi,%r10), %r8d
  may_fault COPY, .Lcopy_bytes, movzbl -1(%rsi,%rdx), %r9d
  may_fault COPY, .Lcopy_bytes, mov %al, (%rdi)
  may_fault COPY, .Lcopy_bytes, mov %r8b, (%rdi,%r10)
  may_fault COPY, .Lcopy_bytes, mov %r9b, -1(%rdi,%rdx)
5:
  xor %eax, %eax
  ret
2: // 17 to 32: first and last 16
  may_fault COPY, .Lcopy_bytes, mov (%rsi), %rax
  may_fault COPY, .Lcopy_bytes, mov 8(%rsi), %r8
  may_fault COPY, .Lcopy_bytes, mov -16(%rsi,%rdx), %r9
  may_fault COPY, .Lcopy_bytes, mov -8(%rsi,%rdx), %r10
  may_fault COPY, .Lcopy_bytes, mov %rax, (%rdi)
  may_fault COPY, .Lcopy_bytes, mov %r8, 8(%rdi)
  may_fault COPY, .Lcopy_bytes, mov %r9, -16(%rdi,%rdx)
  may_fault COPY, .Lcopy_bytes, mov %r10, -8(%rdi,%rdx)
  xor %eax, %eax
  ret
3: // The start-up of rep movsb (some 30 cycles) pays from here on; rcx says how far it came.
  cmp $128, %rdx
  jae 6f
7:
  may_fault COPY, .Lcopy_bytes, mov (%rsi), %rax
  may_fault COPY, .Lcopy_bytes, mov 8(%rsi), %r8
  may_fault COPY, .Lcopy_bytes, mov %rax, (%rdi)
  may_fault COPY, .Lcopy_bytes, mov %r8, 8(%rdi)
  add $16, %rsi
  add $16, %rdi
  sub $16, %rcx
  cmp $16, %rcx
  jae 7b
6: // Long ones go by words: as fast as bytes on CPUs with ERMS, faster on all others, emulated ones
   // too. Behind a fault bytes go on, up to the very one that cannot be had.
  cmp $512, %rdx
  jb 6f
  mov %rdx, %rax
  shr $3, %rcx
  and $7, %eax
  may_fault COPY, 8f, rep movsq
8:
  lea (%rax,%rcx,8), %rcx
6:
.Lcopy_bytes:
  may_fault COPY, 9f, rep movsb
9:
  mov %rcx, %rax
  ret
  .size app_access_copy, . - app_access_copy

  .section ZERO, "ax", @progbits
  .globl app_access_zero
  .type app_access_zero, @function
  .p2align 4
app_access_zero:
  mov %rsi, %rcx
  xor %eax, %eax
  may_fault ZERO, 9f, rep stosb
9:
  mov %rcx, %rax
  ret
  .size app_access_zero, . - app_access_zero

  .section STRING, "ax", @progbits
  .globl app_access_string
  .type app_access_string, @function
  .p2align 4
app_access_string:
  xor %eax, %eax
1:
  cmp %rdx, %rax
  jae 2f
  may_fault STRING, 9f, movzbl (%rsi,%rax), %ecx
  mov %cl, (%rdi,%rax)
  inc %rax
  test %cl, %cl
  jnz 1b
  dec %rax
2:
  ret
9:
  mov $-1, %rax
  ret
  .size app_access_string, . - app_access_string

  .section .note.GNU-stack, "", @progbits
