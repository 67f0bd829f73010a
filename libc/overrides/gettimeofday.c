/* Replaces musl's src/time/gettimeofday.c, which asks for nanoseconds and divides them: the kernel
 * does that once. redis asks with every command. */
#include <stddef.h>
#include <sys/time.h>

#include "syscall.h"

int gettimeofday(struct timeval *restrict to, void *restrict zone)
{
	(void)zone;
	return to ? syscall(SYS_gettimeofday, to, NULL) : 0;
}
