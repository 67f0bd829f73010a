// RFC 8985 compares times of transmission. A segment that is sent for the first time has the order
// of its numbers, so only what is sent again carries an order of its own; the request that nothing
// happens to pays nothing. The time that what was overtaken may still take is counted from when
// that was noticed, which is when its time by the RFC begins to exceed a round trip.
#include "core/net/tcp_scoreboard.hh"

namespace oblako::net {
namespace {

constexpr uint32_t shortest_reordering_window = 2; // whole milliseconds: at least one

uint32_t round_trip(const tcp_pcb& c) {
  return static_cast<uint32_t>(c.sa >> 3);
}

// Something of it has arrived.
void note_original(tcp_pcb& c, const tcp_seg& s) {
  if (c.recovery.suspect && !(s.flags & TF_SEG_SENT_AGAIN) && TCP_SEQ_LEQ(end(s), c.recover))
    c.recovery.original = 1;
}

void note_delivered(tcp_pcb& c, const tcp_seg& s, tcp_send_order known) {
  tcp_recovery& r = c.recovery;
  const tcp_send_order order = order_of(s);
  note_original(c, s);
  if (!(s.flags & TF_SEG_SENT_AGAIN)) {
    if (sent_before(order, known) && r.patience == 0)
      r.patience = 1; // it came late, but it came
  } else if (2 * (tcp_ticks - s.again_at) < round_trip(c)) {
    return; // so soon it can only be what was sent first
  }
  if (sent_before(r.delivered, order))
    r.delivered = order;
}

} // namespace

bool cut(tcp_pcb& c, tcp_seg& s, uint32_t edge) {
  return s.len > c.mss && edge - sequence(s) < s.len &&
         tcp_split_seg(&c, &s, static_cast<u16_t>(edge - sequence(s))) == ERR_OK;
}

bool note_block(tcp_pcb& c, const tcp_sack_range& b, tcp_send_order known) {
  if (!TCP_SEQ_LT(b.left, b.right) || TCP_SEQ_LT(b.left, c.lastack) ||
      TCP_SEQ_GT(b.right, c.snd_nxt))
    return false;
  bool news = false;
  for (tcp_seg* s = c.unacked; s && TCP_SEQ_LT(sequence(*s), b.right); s = s->next) {
    const uint32_t begin = sequence(*s);
    if ((s->flags & TF_SEG_SACKED) || TCP_SEQ_LEQ(end(*s), b.left))
      continue;
    if (TCP_SEQ_LT(begin, b.left)) {
      cut(c, *s, b.left); // then the next one begins there
      continue;
    }
    if (TCP_SEQ_GT(end(*s), b.right) && !cut(c, *s, b.right))
      break;
    note_delivered(c, *s, known);
    s->flags = static_cast<u8_t>((s->flags | TF_SEG_SACKED) & ~TF_SEG_LOST);
    c.recovery.arrived += length(*s);
    news = true;
  }
  return news;
}

void note_acknowledged(tcp_pcb& c, uint32_t acknowledged) {
  const tcp_send_order known = c.recovery.delivered;
  for (tcp_seg* s = c.unacked; s && TCP_SEQ_LT(sequence(*s), acknowledged); s = s->next) {
    if (s->flags & TF_SEG_SACKED)
      continue;
    if (TCP_SEQ_GT(end(*s), acknowledged)) {
      note_original(c, *s);
      c.recovery.arrived += acknowledged - sequence(*s);
      break;
    }
    note_delivered(c, *s, known);
    c.recovery.arrived += length(*s);
  }
}

uint32_t sacked_bytes(const tcp_pcb& c) {
  uint32_t bytes = 0;
  for (const tcp_seg* s = c.unacked; s; s = s->next)
    if (s->flags & TF_SEG_SACKED)
      bytes += length(*s);
  return bytes;
}

uint32_t in_network(const tcp_pcb& c) {
  uint32_t bytes = 0;
  for (const tcp_seg* s = c.unacked; s; s = s->next)
    if (!(s->flags & (TF_SEG_SACKED | TF_SEG_LOST)))
      bytes += length(*s);
  return bytes;
}

bool any_marked(const tcp_pcb& c, u8_t mark) {
  const tcp_seg* s = c.unacked;
  while (s && !(s->flags & mark))
    s = s->next;
  return s;
}

void clear_marks(tcp_pcb& c, u8_t marks) {
  for (tcp_seg* s = c.unacked; s; s = s->next)
    s->flags &= static_cast<u8_t>(~marks);
}

void all_lost(tcp_pcb& c) {
  c.recovery.waiting = 0;
  for (tcp_seg* s = c.unacked; s; s = s->next)
    if (!(s->flags & TF_SEG_SACKED))
      s->flags |= TF_SEG_LOST;
}

bool find_losses(tcp_pcb& c, bool at_once) {
  tcp_recovery& r = c.recovery;
  const bool waited = r.waiting && tcp_ticks - r.overtaken_since >= reordering_window(c);
  bool any = false, overtaken = false;
  for (tcp_seg* s = c.unacked; s; s = s->next) {
    if (s->flags & TF_SEG_SACKED)
      continue;
    const tcp_send_order order = order_of(*s);
    if (!(s->flags & TF_SEG_LOST) && sent_before(order, r.delivered)) {
      if (at_once || (waited && sent_before(order, r.overtaken)))
        s->flags |= TF_SEG_LOST;
      else
        overtaken = true;
    }
    any |= (s->flags & TF_SEG_LOST) != 0;
  }
  if (overtaken && (!r.waiting || waited)) {
    r.overtaken = r.delivered;
    r.overtaken_since = tcp_ticks;
  }
  r.waiting = overtaken;
  return any;
}

uint32_t reordering_window(const tcp_pcb& c) {
  const unsigned quarters = min_of(max_of<uint8_t>(c.recovery.patience, 1), most_patience);
  return max_of(round_trip(c) * quarters / 4, shortest_reordering_window);
}

} // namespace oblako::net
