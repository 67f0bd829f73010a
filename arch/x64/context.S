// The stack switch, the first steps of a new context, and the ways back into application code.
// See context.hh for what each promises.

// Slots of trap_frame that are addressed directly (context.cc asserts them).
#define FRAME_RDI 72
#define FRAME_RAX 112
#define FRAME_RIP 136

	.section .text.oblako_switch_stacks, "ax", @progbits
// void oblako_switch_stacks(uint64_t* save_rsp, uint64_t load_rsp)
	.globl oblako_switch_stacks
	.type oblako_switch_stacks, @function
oblako_switch_stacks:
	pushq $2                        // one thread's flags (nested task, alignment check) are not
	popfq                           // another's; interrupts stay off
	push %rbp
	push %rbx
	push %r12
	push %r13
	push %r14
	push %r15
	sub $8, %rsp
	stmxcsr (%rsp)
	fnstcw 4(%rsp)
	mov %rsp, (%rdi)
	mov %rsi, %rsp
	ldmxcsr (%rsp)
1:	fldcw 4(%rsp)
	add $8, %rsp
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbx
	pop %rbp
	ret
2:	// The old thread has an x87 exception pending, which strikes the next instruction that waits for
	// the unit. It is dropped: what a call leaves of the x87 unit is its control word.
	fnclex
	jmp 1b
	.size oblako_switch_stacks, .-oblako_switch_stacks
	.pushsection __ex_table, "ao", @progbits, .text.oblako_switch_stacks
	.balign 8
	.quad 1b, 2b
	.popsection

	.section .text.oblako_context_start, "ax", @progbits
// First return address of a prepared context: rbx is the entry, r12 its argument. The switch that
// led here is completed by the scheduler with interrupts still off. Weak: only the scheduler starts
// a context, so the switch alone must not bring it in.
	.weak oblako_finish_switch
	.globl oblako_context_start
	.type oblako_context_start, @function
oblako_context_start:
	call oblako_finish_switch
	sti
	mov %r12, %rdi
	call *%rbx
	ud2
	.size oblako_context_start, .-oblako_context_start

	.section .text.oblako_resume, "ax", @progbits
// [[noreturn]] void oblako_resume(trap_frame*), interrupts off.
	.globl oblako_resume
	.type oblako_resume, @function
oblako_resume:
	pushq $2                        // IRETQ faults if the nested-task flag is set, as a caller may
	popfq                           // have left it
	mov %rdi, %rsp
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
	add $16, %rsp
	iretq
	.size oblako_resume, .-oblako_resume

	.section .note.GNU-stack, "", @progbits
