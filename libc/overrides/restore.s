/* Replaces musl's src/signal/x86_64/restore.s, and holds what else a signal handler needs on the
 * application's side of the boundary. */
.text
.global __restore_rt
.hidden __restore_rt
.type __restore_rt,@function
	nop	/* unwinders look at the byte before a return address */
__restore_rt:
	jmp sys_rt_sigreturn
.size __restore_rt,.-__restore_rt

/* Where a signal frame resumes if an interrupted call is to be made again: the kernel has put the
 * call's address into rax and its arguments into theirs, the return address is on the stack. */
.global __oblako_repeat_call
.type __oblako_repeat_call,@function
__oblako_repeat_call:
	jmp *%rax
.size __oblako_repeat_call,.-__oblako_repeat_call
