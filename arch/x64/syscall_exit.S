// The slow way out of a system call, taken when percpu::pending is not zero: reschedule, signals,
// restarting an interrupted call. The stubs of syscall_entry.hh jump here with the result in rax
// and the application's callee-saved registers untouched; the application's stack pointer is at
// kernel_stack_top - 16.
//
// The state is kept as a trap_frame on the kernel stack. If oblako_leave_system_call() changed
// nothing but the result, the way back is as cheap as the fast one; otherwise iretq restores it all.

	.section .text.syscall_exit_slow, "ax", @progbits
	.globl syscall_exit_slow_restartable
	.type syscall_exit_slow_restartable, @function
// rsp = top - 64, with r9 r8 rcx rdx rsi rdi above it; rcx = the stub, for making the call again.
syscall_exit_slow_restartable:
	mov %rsp, %rdx
	jmp 1f

	.globl syscall_exit_slow
	.type syscall_exit_slow, @function
// rsp = top - 16.
syscall_exit_slow:
	xor %ecx, %ecx
	xor %edx, %edx
1:	sub $176, %rsp                  // sizeof(trap_frame), keeps 16-byte alignment
	mov %r15, (%rsp)
	mov %r14, 8(%rsp)
	mov %r13, 16(%rsp)
	mov %r12, 24(%rsp)
	mov %rbp, 64(%rsp)
	mov %rbx, 104(%rsp)
	mov %rax, 112(%rsp)
	mov %rsp, %rdi
	mov %rcx, %rsi
	call oblako_leave_system_call   // (frame, stub, saved arguments); interrupts off on return
	test %al, %al
	jnz 2f
	mov 112(%rsp), %rax
	mov %gs:8, %rcx
	mov -16(%rcx), %rsp
	sti
	ret
2:	mov %rsp, %rdi
	jmp oblako_resume
	.size syscall_exit_slow, .-syscall_exit_slow
	.size syscall_exit_slow_restartable, .-syscall_exit_slow_restartable

	.section .note.GNU-stack, "", @progbits
