// Watches over connections from outside: those whose socket is closed must not hold memory for
// ever.
#pragma once

#include <stdint.h>

namespace oblako::net {

// Called with the coarse tick, stack lock held: ends connections whose time is up
// (TCP_USER_TIMEOUT) and closed sockets' connections that no longer get anywhere, oldest first when
// there are too many.
void watch_connections(uint64_t now);

// Ends every connection as the end of a process does: what is queued will still be sent, then the
// end of the stream. Context: the stack's lock is held.
void close_connections();
// True while something sent has not been acknowledged yet.
bool connections_pending();

} // namespace oblako::net
