/* Replaces musl's src/process/vfork.c and x86_64/vfork.s: no second process may run on this stack, so
 * whether and how vfork works is the kernel's answer. */
#include <unistd.h>
#include "syscall.h"

pid_t vfork(void)
{
	return syscall(SYS_vfork);
}
