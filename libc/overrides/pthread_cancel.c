/* Replaces musl's src/thread/pthread_cancel.c. A cancellation point tells the kernel that it is one;
 * tkill(SIGCANCEL) leaves a mark with the thread. A blocking wait that finds both, and has consumed
 * nothing, returns -ECANCELED. The signal itself only serves threads that are cancelled
 * asynchronously. */
#define _GNU_SOURCE
#include <signal.h>
#include <string.h>
#include <ucontext.h>

#include "pthread_impl.h"
#include "syscall.h"

/* Leaf call: sets the running thread's mark, returns what it was. It changes no other register, so
 * that a call's arguments stay where they are. */
static inline long set_mark(long on)
{
	long was;
	__asm__ __volatile__("call sys_cancellation_point" : "=a"(was) : "D"(on) : "memory", "cc");
	return was;
}

hidden long __cancel(void);
extern hidden const char __cp_cancel[1];

long __cancel(void)
{
	pthread_t self = __pthread_self();
	if (self->canceldisable == PTHREAD_CANCEL_ENABLE || self->cancelasync)
		pthread_exit(PTHREAD_CANCELED);
	self->canceldisable = PTHREAD_CANCEL_DISABLE;
	return -ECANCELED;
}

hidden long __syscall_cp_c(syscall_arg_t call, syscall_arg_t a, syscall_arg_t b, syscall_arg_t c,
                           syscall_arg_t d, syscall_arg_t e, syscall_arg_t f);

static long interrupted(long r, syscall_arg_t call);

/* Cancellation is disabled, or has been asked for. */
static __attribute__((noinline)) long not_cancellable(syscall_arg_t call, syscall_arg_t a,
                                                      syscall_arg_t b, syscall_arg_t c,
                                                      syscall_arg_t d, syscall_arg_t e,
                                                      syscall_arg_t f)
{
	int state = __pthread_self()->canceldisable;
	if (state == PTHREAD_CANCEL_DISABLE || (state && call == SYS_close))
		return __syscall(call, a, b, c, d, e, f);
	if (__pthread_self()->cancel)
		return __cancel();
	long outer = set_mark(1);
	long r = __syscall(call, a, b, c, d, e, f);
	set_mark(outer);
	return interrupted(r, call);
}

static __attribute__((noinline)) long interrupted(long r, syscall_arg_t call)
{
	pthread_t self = __pthread_self();
	/* A close that was interrupted has closed. */
	if ((r == -ECANCELED || (r == -EINTR && call != SYS_close)) && self->cancel &&
	    self->canceldisable != PTHREAD_CANCEL_DISABLE)
		return __cancel();
	return r;
}

long __syscall_cp_c(syscall_arg_t call, syscall_arg_t a, syscall_arg_t b, syscall_arg_t c,
                    syscall_arg_t d, syscall_arg_t e, syscall_arg_t f)
{
	pthread_t self = __pthread_self();
	if (self->canceldisable | self->cancel)
		return not_cancellable(call, a, b, c, d, e, f);

	/* A request that arrives from here on finds the mark set or is found by the kernel. */
	long outer = set_mark(1);
	long r = __syscall(call, a, b, c, d, e, f);
	set_mark(outer);
	if (r == -ECANCELED || r == -EINTR)
		return interrupted(r, call);
	return r;
}

static void cancel_handler(int signal, siginfo_t *info, void *context)
{
	pthread_t self = __pthread_self();
	ucontext_t *uc = context;

	a_barrier();
	if (!self->cancel || self->canceldisable == PTHREAD_CANCEL_DISABLE || !self->cancelasync)
		return;
	uc->uc_sigmask.__bits[0] |= 1UL << (SIGCANCEL - 1);
	uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)__cp_cancel;
}

void __testcancel(void)
{
	pthread_t self = __pthread_self();
	if (self->cancel && !self->canceldisable)
		__cancel();
}

static void install_cancel_handler(void)
{
	struct sigaction sa = {.sa_flags = SA_SIGINFO | SA_RESTART, .sa_sigaction = cancel_handler};
	memset(&sa.sa_mask, -1, _NSIG / 8);
	__libc_sigaction(SIGCANCEL, &sa, 0);
}

int pthread_cancel(pthread_t t)
{
	static int installed;
	if (!installed) {
		install_cancel_handler();
		installed = 1;
	}
	a_store(&t->cancel, 1);
	if (t == pthread_self()) {
		if (t->canceldisable == PTHREAD_CANCEL_ENABLE && t->cancelasync)
			pthread_exit(PTHREAD_CANCELED);
		return 0;
	}
	return pthread_kill(t, SIGCANCEL);
}
