// Watches over connections from outside: those whose socket is closed must not hold memory for
// ever.
#pragma once

#include <stdint.h>

namespace oblako::net {

// Called with the coarse tick, stack lock held: ends connections whose time is up
// (TCP_USER_TIMEOUT) and closed sockets' connections that no longer get anywhere, oldest first when
// there are too many.
void watch_connections(uint64_t now);

} // namespace oblako::net
