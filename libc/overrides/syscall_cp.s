/* Replaces musl's src/thread/x86_64/syscall_cp.s. With calls instead of traps there is no window of
 * program counters to compare: see pthread_cancel.c. What is left is where an asynchronously
 * cancelled thread continues, at any instruction: below the red zone, on an aligned stack. */
.text
.global __cp_cancel
.hidden __cp_cancel
.hidden __cancel
.type __cp_cancel,@function
__cp_cancel:
	sub $128,%rsp
	and $-16,%rsp
	cld
	call __cancel
	hlt
.size __cp_cancel,.-__cp_cancel
