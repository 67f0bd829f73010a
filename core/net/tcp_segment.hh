// The usual small write as one segment, without lwIP's general machinery for queues of them.
#pragma once

#include "core/base/result.hh"
#include "core/mem/app_memory.hh"

struct tcp_pcb;

namespace oblako::net {

// True if nothing waits to be sent and `bytes` fit one segment: then queue_segment() does it.
bool fits_segment(const tcp_pcb& c, size_t bytes);
// Takes `bytes` bytes into a segment of their own at the end of the connection's empty queue.
// Returns how many were there to be read. Errors: fault, nobufs; nothing has changed then.
result<size_t> queue_segment(tcp_pcb& c, mem::io_buffers& from, size_t bytes);

} // namespace oblako::net
