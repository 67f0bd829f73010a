/* pthread_once() of programs that unwind (link_image.py wraps it there): musl's would leave the control
 * "begun" for ever when the function throws, and the thread's list of cancellation handlers would lead
 * into a frame that is gone. The next caller begins anew, as after a cancellation (POSIX pthread_once;
 * C++ [thread.once.callonce]).
 *
 * The control's values are musl's own, whose call_once() stays: 0 nobody has begun, 1 one has, 2 done,
 * 3 one has and others wait. */
#include <limits.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { idle, begun, done, awaited };
/* <linux/futex.h>: FUTEX_WAIT, FUTEX_WAKE, FUTEX_PRIVATE_FLAG. */
enum { futex_wait = 0 | 128, futex_wake = 1 | 128 };

/* musl's names behind pthread_cleanup_push(), which cannot end in another function. */
void _pthread_cleanup_push(struct __ptcb *, void (*)(void *), void *);
void _pthread_cleanup_pop(struct __ptcb *, int);

struct turn {
	struct __ptcb handler;
	int ended;
};

static void end(int *control, int how)
{
	if (__atomic_exchange_n(control, how, __ATOMIC_ACQ_REL) == awaited)
		syscall(SYS_futex, control, futex_wake, INT_MAX, 0, 0, 0);
}

static void give_up(void *control)
{
	end(control, idle);
}

/* However the frame is left. */
static void leave(struct turn *t)
{
	if (!t->ended)
		_pthread_cleanup_pop(&t->handler, 1);
}

static void take_turn(int *control, void (*function)(void))
{
	__attribute__((cleanup(leave))) struct turn t = {.ended = 0};
	_pthread_cleanup_push(&t.handler, give_up, control);
	function();
	_pthread_cleanup_pop(&t.handler, 0);
	t.ended = 1;
	end(control, done);
}

int __wrap_pthread_once(pthread_once_t *control, void (*function)(void))
{
	for (;;) {
		int was = idle;
		if (__atomic_load_n(control, __ATOMIC_ACQUIRE) == done)
			return 0;
		if (__atomic_compare_exchange_n(control, &was, begun, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
			take_turn(control, function);
			return 0;
		}
		if (was == done)
			return 0;
		if (was == begun &&
		    !__atomic_compare_exchange_n(control, &was, awaited, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
			continue;
		syscall(SYS_futex, control, futex_wait, awaited, 0, 0, 0);
	}
}
