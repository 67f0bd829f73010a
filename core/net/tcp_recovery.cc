// Recovery from loss without a time-out (patch 33): with SACK the holes are sent again, as many at
// a time as the halved window allows (RFC 6675 in a simple form); without SACK one segment for each
// acknowledgement that closes a part of the gap (RFC 6582).
//
// The board on which the other side's blocks are noted is the queue of unacknowledged segments
// itself: each segment is marked when it lies within a block, and when it has been sent again.
//
// During a recovery lwIP's cwnd is the window counted from the first unacknowledged octet, as
// tcp_output() uses it: ssthresh, and what is known to have left the network.
#include "core/net/tcp_recovery.hh"

#include "core/base/types.hh"
#include "hooks.h"
#include "lwip/priv/tcp_priv.h"

namespace oblako::net {
namespace {

constexpr uint8_t duplicates_for_loss = 3;

uint32_t sequence(const tcp_seg& s) {
  return lwip_ntohl(s.tcphdr->seqno);
}
uint32_t length(const tcp_seg& s) {
  return TCP_TCPLEN(&s);
}
uint32_t in_flight(const tcp_pcb& c) {
  return c.snd_nxt - c.lastack;
}

uint32_t sacked_bytes(const tcp_pcb& c) {
  uint32_t bytes = 0;
  for (const tcp_seg* s = c.unacked; s; s = s->next)
    if (s->flags & TF_SEG_SACKED)
      bytes += length(*s);
  return bytes;
}

// A segment longer than the MSS ends at an edge within it; true if it did so.
bool cut(tcp_pcb& c, tcp_seg& s, uint32_t edge) {
  return s.len > c.mss && edge - sequence(s) < s.len &&
         tcp_split_seg(&c, &s, static_cast<u16_t>(edge - sequence(s))) == ERR_OK;
}

// Marks what lies in the block. True if any of it was not known.
bool note(tcp_pcb& c, const tcp_sack_range& b) {
  // Old blocks, and those of duplicates (RFC 2883), lie before what is acknowledged.
  if (!TCP_SEQ_LT(b.left, b.right) || TCP_SEQ_LT(b.left, c.lastack) ||
      TCP_SEQ_GT(b.right, c.snd_nxt))
    return false;
  bool news = false;
  for (tcp_seg* s = c.unacked; s && TCP_SEQ_LT(sequence(*s), b.right); s = s->next) {
    const uint32_t begin = sequence(*s);
    if ((s->flags & TF_SEG_SACKED) || TCP_SEQ_LEQ(begin + length(*s), b.left))
      continue;
    if (TCP_SEQ_LT(begin, b.left)) {
      cut(c, *s, b.left); // then the next one begins there
      continue;
    }
    if (TCP_SEQ_GT(begin + length(*s), b.right) && !cut(c, *s, b.right))
      break;
    s->flags |= TF_SEG_SACKED;
    news = true;
  }
  return news;
}

// Walks the queue from the first segment on and calls for each that the other side lacks:
// each(segment, lost). Lost is the first, and what more than two full segments beyond have
// overtaken.
template <class function>
void for_each_missing(const tcp_pcb& c, function&& each) {
  uint32_t beyond = sacked_bytes(c);
  bool first = true;
  for (tcp_seg* s = c.unacked; s; s = s->next) {
    if (s->flags & TF_SEG_SACKED) {
      beyond -= length(*s);
      continue;
    }
    if (!each(*s, first || beyond > 2u * c.mss))
      return;
    first = false;
  }
}

// RFC 6675, 4: octets that are still in the network, as far as one can tell.
uint32_t in_network(const tcp_pcb& c) {
  uint32_t bytes = 0;
  for_each_missing(c, [&](tcp_seg& s, bool lost) {
    if (!lost || (s.flags & TF_SEG_SENT_AGAIN))
      bytes += length(s);
    return true;
  });
  return bytes;
}

void send_missing(tcp_pcb& c) {
  uint32_t pipe = in_network(c);
  for_each_missing(c, [&](tcp_seg& s, bool lost) {
    if (!lost)
      return false; // what follows is not either
    if (s.flags & TF_SEG_SENT_AGAIN)
      return true;
    const uint32_t room = max_of<uint32_t>(c.ssthresh - min_of(pipe, c.ssthresh), c.mss);
    if (length(s) > room && !cut(c, s, sequence(s) + room - room % c.mss) && pipe != 0)
      return false;
    if (pipe >= c.ssthresh && pipe != 0)
      return false;
    if (tcp_send_again(&c, &s) != ERR_OK)
      return false;
    s.flags |= TF_SEG_SENT_AGAIN;
    pipe += length(s);
    return true;
  });
  c.cwnd = c.ssthresh + in_flight(c) - min_of(pipe, in_flight(c));
}

void clear_marks(tcp_seg* s, u8_t marks) {
  for (; s; s = s->next)
    s->flags &= static_cast<u8_t>(~marks);
}

// Three duplicates, or as much beyond the gap. After a time-out, duplicates come from what was in
// the network before it.
bool is_loss(const tcp_pcb& c) {
  if ((c.flags & TF_RTO) || !c.unacked)
    return false;
  return c.dupacks >= duplicates_for_loss || ((c.flags & TF_SACK) && sacked_bytes(c) > 2u * c.mss);
}

// RFC 5681, 3.2. False if the segment is still with the device: the next duplicate tries again.
bool begin(tcp_pcb& c) {
  const bool sack = c.flags & TF_SACK;
  if (!sack && tcp_rexmit(&c) != ERR_OK)
    return false;
  c.ssthresh = max_of<tcpwnd_size_t>(min_of(in_flight(c), c.cwnd) / 2, 2u * c.mss);
  c.recover = c.snd_nxt;
  c.cwnd = c.ssthresh + duplicates_for_loss * c.mss;
  tcp_set_flags(&c, TF_INFR);
  c.rtime = TCP_RTIME_NOW();
  return sack;
}

} // namespace

void forget_recovery(tcp_pcb& c) {
  tcp_clear_flags(&c, TF_INFR);
  c.dupacks = 0;
  clear_marks(c.unacked, TF_SEG_SACKED | TF_SEG_SENT_AGAIN);
}

} // namespace oblako::net

using namespace oblako;
using namespace oblako::net;

extern "C" {

u8_t oblako_tcp_sack(tcp_pcb* c, const tcp_sack_range* blocks, u8_t count) {
  bool news = false;
  for (u8_t n = 0; n < count; ++n)
    news |= note(*c, blocks[n]);
  return news;
}

void oblako_tcp_duplicate(tcp_pcb* c) {
  tcp_trim_acked(c, &c->unacked); // what is acknowledged of the first segment is not missing
  if (c->flags & TF_INFR) {
    if (c->flags & TF_SACK)
      send_missing(*c);
    else
      TCP_WND_INC(c->cwnd, c->mss);
    return;
  }
  if (is_loss(*c) && begin(*c))
    send_missing(*c);
}

// Acknowledges all that was in flight when the recovery began: it ends.
u8_t oblako_tcp_recovering(tcp_pcb* c, u32_t acknowledged) {
  if (TCP_SEQ_LT(acknowledged, c->recover))
    return 1;
  tcp_clear_flags(c, TF_INFR);
  clear_marks(c->unacked, TF_SEG_SENT_AGAIN);
  const uint32_t left = c->snd_nxt - acknowledged;
  c->cwnd = min_of<tcpwnd_size_t>(c->ssthresh, max_of<uint32_t>(left, c->mss) + c->mss);
  c->bytes_acked = 0;
  return 0;
}

// RFC 6582, 3.2 (3): the next gap. The acknowledged segments are off the queue.
void oblako_tcp_partial(tcp_pcb* c, u32_t bytes) {
  tcp_trim_acked(c, &c->unacked);
  if (c->flags & TF_SACK)
    return send_missing(*c);
  c->cwnd -= min_of<tcpwnd_size_t>(bytes, c->cwnd - min_of<tcpwnd_size_t>(c->mss, c->cwnd));
  if (bytes >= c->mss)
    TCP_WND_INC(c->cwnd, c->mss);
  tcp_rexmit(c);
}

} // extern "C"
