/* Replaces musl's src/thread/x86_64/clone.s.
 * int __clone(int (*fn)(void *), void *stack, int flags, void *arg, pid_t *ptid, void *tls,
 *             pid_t *ctid)
 * sys_clone takes Linux's order (flags, stack, ptid, ctid, tls). The new thread appears behind the
 * call with rax 0 on the given stack, where it finds its argument and function. */
.text
.global __clone
.hidden __clone
.type __clone,@function
__clone:
	and $-16,%rsi
	sub $16,%rsi
	mov %rcx,(%rsi)
	mov %rdi,8(%rsi)
	mov %edx,%edi
	mov %r8,%rdx
	mov 8(%rsp),%rcx
	mov %r9,%r8
	sub $8,%rsp
	call sys_clone
	test %eax,%eax
	jz 1f
	add $8,%rsp
	ret
1:	xor %ebp,%ebp
	pop %rdi
	pop %rax
	call *%rax
	mov %eax,%edi
	call sys_exit
	hlt
.size __clone,.-__clone
