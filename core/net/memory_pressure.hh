// What the network does when memory is short (core/mem/buffer_account.hh says when that is, and
// what each queue may hold then). Private to core/net.
//
// Everybody has a least share, so those who take nothing of it could still fill memory by their
// number. A sweep over all connections finds them. A connection makes no progress while less than a
// segment of what waits for the other side has been acknowledged, or, if nothing waits for it, less
// than a segment of what it has sent has been read. It may do so for as long as memory allows: half
// a minute when memory begins to be short, half a second when the limit is reached. So those that
// have made none for longest go first, and no more than it takes. Connections whose socket is
// closed have the same time from then on. One line in ten seconds says how many were reset.
//
// Before that point new connections are refused, all but the first few: those that exist keep what
// they need.
//
// Context of all: the stack's lock is held, but for mem::reclaim_buffers().
#pragma once

#include <stddef.h>
#include <stdint.h>

struct tcp_pcb;

namespace oblako::net {

// False: no new connection now.
bool may_connect();

// How long connections may be without progress now, in milliseconds. False: memory is not short.
bool patience(uint32_t& ms);

// Looks whether memory is short, and has run_memory_pressure() called if so. Twice a second.
void look_at_memory(uint64_t now);
bool run_memory_pressure(uint64_t now);
// Units: monotonic nanoseconds.
uint64_t next_memory_pressure();

} // namespace oblako::net
