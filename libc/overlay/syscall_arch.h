/* Laid over musl's arch/x86_64/syscall_arch.h while the libc itself is compiled: a system call is a
 * direct call. SYS_name (bits/syscall.h, generated beside this file by libc/build_musl.sh) is the
 * address of sys_name, so __syscallN(SYS_name, ...) becomes `call sys_name` and the linker sees
 * what an application reaches. Applications keep Linux's numbers in <sys/syscall.h>. */
#define __SYSCALL_LL_E(x) (x)
#define __SYSCALL_LL_O(x) (x)

static inline long __syscall0(long n)
{
	return ((long (*)(void))n)();
}

static inline long __syscall1(long n, long a)
{
	return ((long (*)(long))n)(a);
}

static inline long __syscall2(long n, long a, long b)
{
	return ((long (*)(long, long))n)(a, b);
}

static inline long __syscall3(long n, long a, long b, long c)
{
	return ((long (*)(long, long, long))n)(a, b, c);
}

static inline long __syscall4(long n, long a, long b, long c, long d)
{
	return ((long (*)(long, long, long, long))n)(a, b, c, d);
}

static inline long __syscall5(long n, long a, long b, long c, long d, long e)
{
	return ((long (*)(long, long, long, long, long))n)(a, b, c, d, e);
}

static inline long __syscall6(long n, long a, long b, long c, long d, long e, long f)
{
	return ((long (*)(long, long, long, long, long, long))n)(a, b, c, d, e, f);
}

/* musl passes a socket call's address through an int to support 32-bit socketcall; on x86-64 there
 * is none, so the call goes straight through. */
#define OBLAKO_DIRECT_SOCKETCALL 1
