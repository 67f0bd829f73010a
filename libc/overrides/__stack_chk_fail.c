/* Replaces musl's src/env/__stack_chk_fail.c: the canary is in the thread's block only (what compiled
 * code looks at), and a stack that was overwritten ends the machine by the kernel, since nothing
 * that runs on this stack can be relied on. */
#include <stdint.h>
#include <string.h>

#include "pthread_impl.h"

void __init_ssp(void *entropy)
{
	uintptr_t canary;

	memcpy(&canary, entropy, sizeof canary);
	/* A zero byte stops what goes by strings; as the second one, because the first is where one
	 * byte too many lands. */
	__pthread_self()->canary = canary & ~(uintptr_t)0xff00;
}

/* arch/x64/crash.cc: where it was noticed, and the stack above that. */
_Noreturn void oblako_stack_overwritten(void *where, void *stack);

void __stack_chk_fail(void)
{
	oblako_stack_overwritten(__builtin_return_address(0), __builtin_dwarf_cfa());
}
