/* Replaces musl's src/unistd/setxid.c. Identities are recorded once for the whole VM, so there are no
 * other threads to bring into step, and the call's address must not pass through an int. */
#include "libc.h"
#include "syscall.h"
#include <unistd.h>

int __setxid(long call, int id, int eid, int sid)
{
	return __syscall_ret(__syscall3(call, id, eid, sid));
}
