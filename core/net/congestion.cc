#include "core/net/congestion.hh"

#include "core/base/types.hh"
#include "core/net/cubic.hh"
#include "hooks.h"
#include "lwip/priv/tcp_priv.h"

namespace oblako::net {

void grow_window(tcp_pcb& c, uint32_t& window, uint32_t acknowledged, uint32_t flight) {
  if (window > 2 * uint64_t{flight})
    return cubic_pause(c.cubic);
  if (window < c.ssthresh) {
    const uint32_t slow_start = min_of<uint32_t>(acknowledged, c.ssthresh - window);
    window += slow_start;
    acknowledged -= slow_start;
  }
  if (acknowledged != 0)
    window =
        cubic_grown(c.cubic, c.bytes_acked, window, acknowledged,
                    {c.mss, static_cast<uint32_t>(c.sa >> 3)}, c.recovery.old_window, tcp_ticks);
}

void reduce_threshold(tcp_pcb& c, uint32_t window) {
  c.recovery.old_window = window;
  c.recovery.old_threshold = c.ssthresh;
  c.ssthresh =
      cubic_reduced(c.cubic, window, min_of<uint32_t>(c.snd_nxt - c.lastack, window), c.mss);
}

} // namespace oblako::net

extern "C" void oblako_tcp_grow(tcp_pcb* c, u32_t acknowledged) {
  oblako::net::grow_window(*c, c->cwnd, acknowledged, c->snd_nxt - c->lastack + acknowledged);
}
