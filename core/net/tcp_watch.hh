// Watches over connections from outside: those whose socket is closed must not hold memory for
// ever.
#pragma once

#include <stdint.h>

struct tcp_pcb;

namespace oblako::net {

// Context of all: the stack's lock is held.

// True if a connection is to be reset: its TCP_USER_TIMEOUT is over, or its socket is closed and
// the other side takes nothing any more. Asked whenever its timer fires.
bool given_up(const tcp_pcb& c);
// When TCP_USER_TIMEOUT will be over, in TCP's clock; false if it does not run.
bool patience_ends(const tcp_pcb& c, uint32_t& due);

// Until when less than a segment is held back for TCP_CORK or MSG_MORE: 200 ms, as on Linux. False:
// nothing is.
bool held_back(const tcp_pcb& c, uint32_t& due);
void hold_no_longer(tcp_pcb& c);

// The connection's socket is closed. Of too many such connections the oldest are reset: once a
// second, while there are any.
void watch_orphan(tcp_pcb& c);
// Resets those whose socket was closed so long ago, oldest first. Returns how many.
unsigned reset_orphans(uint32_t ms);
void forget_orphan(tcp_pcb& c);
bool run_watch(uint64_t now);
// Units: monotonic nanoseconds.
uint64_t next_watch();

// Ends every connection as the end of a process does: what is queued will still be sent, then the
// end of the stream.
void close_connections();
// True while something sent has not been acknowledged yet.
bool connections_pending();

} // namespace oblako::net
