// What is known of each segment that is not acknowledged yet. Private to core/net.
//
// The board is lwIP's queue of unacknowledged segments itself. A segment is SACKED (the other side
// has it), LOST (it must be sent again), or in the network; SENT_AGAIN stays once it was. Segments
// longer than the MSS are cut where a mark would end within them.
#pragma once

#include "core/base/types.hh"
#include "hooks.h"
#include "lwip/priv/tcp_priv.h"

namespace oblako::net {

// The longest reordering window, as recovery.patience counts it.
constexpr uint8_t most_patience = 4;

inline uint32_t sequence(const tcp_seg& s) {
  return lwip_ntohl(s.tcphdr->seqno);
}
inline uint32_t length(const tcp_seg& s) {
  return TCP_TCPLEN(&s);
}
inline uint32_t end(const tcp_seg& s) {
  return sequence(s) + length(s);
}
inline uint32_t in_flight(const tcp_pcb& c) {
  return c.snd_nxt - c.lastack;
}

// True if a was sent before b.
inline bool sent_before(tcp_send_order a, tcp_send_order b) {
  if (a.octet != b.octet)
    return TCP_SEQ_LT(a.octet, b.octet);
  return a.turn == 0 ? b.turn != 0 : b.turn != 0 && static_cast<int16_t>(a.turn - b.turn) < 0;
}

inline tcp_send_order order_of(const tcp_seg& s) {
  return s.flags & TF_SEG_SENT_AGAIN ? s.again : tcp_send_order{end(s), 0};
}

// A segment longer than the MSS ends at an edge within it; true if it does so now.
bool cut(tcp_pcb& c, tcp_seg& s, uint32_t edge);

// Marks what lies in a block of the other side's, and counts it as arrived. `known` is what had
// been delivered before this acknowledgement. True if any of it was news.
bool note_block(tcp_pcb& c, const tcp_sack_range& b, tcp_send_order known);
// The same for what is acknowledged up to there and still in the queue.
void note_acknowledged(tcp_pcb& c, uint32_t acknowledged);

uint32_t sacked_bytes(const tcp_pcb& c);
// RFC 6675, 4: octets that are still in the network, as far as one can tell.
uint32_t in_network(const tcp_pcb& c);
bool any_marked(const tcp_pcb& c, u8_t mark);
void clear_marks(tcp_pcb& c, u8_t marks);
void all_lost(tcp_pcb& c);

// RFC 8985: marks as lost what has been overtaken by something sent later, at once or when it has
// been waited for. True if anything is marked.
bool find_losses(tcp_pcb& c, bool at_once);
// How long that is. Units: milliseconds.
uint32_t reordering_window(const tcp_pcb& c);

} // namespace oblako::net
