// app_access_compare_exchange of app_access.hh, in an object of its own: few images need it.
	.section .text.app_access_compare_exchange, "ax", @progbits
	.globl app_access_compare_exchange
	.type app_access_compare_exchange, @function
// int (uint32_t* app rdi, uint32_t* expected rsi, uint32_t desired edx)
app_access_compare_exchange:
	mov (%rsi), %eax
1:	lock cmpxchg %edx, (%rdi)
	jne 2f
	xor %eax, %eax
	ret
2:	mov %eax, (%rsi)
	mov $1, %eax
	ret
3:	mov $-1, %eax
	ret
	.size app_access_compare_exchange, .-app_access_compare_exchange

	.section __ex_table, "ao", @progbits, .text.app_access_compare_exchange
	.balign 8
	.quad 1b, 3b

	.section .note.GNU-stack, "", @progbits
