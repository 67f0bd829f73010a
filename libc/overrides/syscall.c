/* Replaces musl's src/misc/syscall.c: syscall(number, ...) by Linux's number. The table
 * (libc/syscall_table.c) holds weak references, so this function links no call by itself; the
 * image build scans for constant numbers and links those. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>

typedef long call_function(long, long, long, long, long, long);

extern call_function *const __oblako_syscall_table[];
extern const long __oblako_syscall_count;
long __oblako_unlinked_syscall(long number);
long __syscall_ret(unsigned long);

long syscall(long number, ...)
{
	va_list ap;
	long a[6];
	va_start(ap, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);

	call_function *f = NULL;
	if (number >= 0 && number < __oblako_syscall_count)
		f = __oblako_syscall_table[number];
	if (!f)
		return __syscall_ret(__oblako_unlinked_syscall(number));
	return __syscall_ret(f(a[0], a[1], a[2], a[3], a[4], a[5]));
}
