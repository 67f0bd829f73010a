// The usual small write as one segment, without lwIP's general machinery for queues of them.
#pragma once

#include "core/base/result.hh"
#include "core/mem/app_memory.hh"
#include "lwip/priv/tcp_priv.h"

namespace oblako::net {

// True if nothing waits to be sent and `bytes` fit one segment: then queue_segment() does it. The
// limits are those of tcp_write(): half of the largest window the peer ever offered, the send
// buffer, the queue's length.
inline bool fits_segment(const tcp_pcb& c, size_t bytes) {
  return !c.unsent && (c.state == ESTABLISHED || c.state == CLOSE_WAIT) && bytes <= c.mss &&
         bytes <= c.snd_wnd_max / 2 && bytes <= c.snd_buf && c.snd_queuelen < TCP_SND_QUEUELEN;
}
// Takes `bytes` bytes into a segment of their own at the end of the connection's empty queue.
// Returns how many were there to be read. Errors: fault, nobufs; nothing has changed then.
result<size_t> queue_segment(tcp_pcb& c, mem::io_buffers& from, size_t bytes);

} // namespace oblako::net
