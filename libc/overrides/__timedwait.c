/* Replaces musl's src/thread/__timedwait.c, of which __timedwait_cp is kept in meaning. A wait for a
 * mutex, a condition's lock or a read-write lock is no cancellation point, but a thread that is to be
 * cancelled asynchronously may be cancelled in it as anywhere else: musl switches that off as well, and
 * who joins such a thread waits for ever. */
#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "futex.h"
#include "pthread_impl.h"
#include "syscall.h"

static volatile int never = 0;
weak_alias(never, __eintr_valid_flag); /* set with the first handler without SA_RESTART */

/* What is left until an absolute time; ETIMEDOUT if nothing is. */
static int time_left(clockid_t clock, const struct timespec *until, struct timespec *left)
{
	if (until->tv_nsec >= 1000000000UL)
		return EINVAL;
	if (__clock_gettime(clock, left))
		return EINVAL;
	left->tv_sec = until->tv_sec - left->tv_sec;
	left->tv_nsec = until->tv_nsec - left->tv_nsec;
	if (left->tv_nsec < 0) {
		left->tv_sec--;
		left->tv_nsec += 1000000000;
	}
	return left->tv_sec < 0 ? ETIMEDOUT : 0;
}

int __timedwait_cp(volatile int *word, int value, clockid_t clock, const struct timespec *until,
                   int private)
{
	struct timespec left;
	if (until) {
		int e = time_left(clock, until, &left);
		if (e)
			return e;
	}
	int r = -__syscall_cp(SYS_futex, word, FUTEX_WAIT | (private ? FUTEX_PRIVATE : 0), value,
	                      until ? &left : 0);
	if (r == EINTR)
		return __eintr_valid_flag ? r : 0;
	return r == ETIMEDOUT || r == ECANCELED ? r : 0;
}

int __timedwait(volatile int *word, int value, clockid_t clock, const struct timespec *until,
                int private)
{
	int state;
	if (__pthread_self()->cancelasync)
		return __timedwait_cp(word, value, clock, until, private);
	__pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	int r = __timedwait_cp(word, value, clock, until, private);
	__pthread_setcancelstate(state, 0);
	return r;
}
