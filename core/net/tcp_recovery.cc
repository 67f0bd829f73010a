// Recovery from loss (patches 33 and 43). With SACK: what is lost is found by what was sent later
// and arrived (RFC 8985; tcp_scoreboard.cc) or by a time-out; how much may be sent in place of what
// has arrived is RFC 6937's; a lost tail is probed for (RFC 8985, 7); a window that was reduced for
// segments which were only late is restored when the other side says that it had them (RFC 2883),
// or when after a time-out something arrives that was sent before it and not again (RFC 5682).
// Without SACK one segment is sent again for each acknowledgement that closes a part of the gap
// (RFC 6582).
//
// A connection is in order, or in one of three phases, and then has TF_INFR: disorder (something is
// missing, or a probe is under way), recovery (something is lost), and loss (a time-out).
//   - In a phase with SACK, recovery.window is the congestion window, and lwIP's cwnd is what is
//     in flight as lwIP counts it (from the first unacknowledged octet) and what may be sent.
//   - Recovery and loss end when all is acknowledged that had been sent when they began; disorder,
//     when nothing is marked any more.
#include "core/net/tcp_recovery.hh"

#include "core/net/congestion.hh"
#include "core/net/cubic.hh"
#include "core/net/tcp_scoreboard.hh"

namespace oblako::net {
namespace {

constexpr uint8_t duplicates_for_loss = 3;
constexpr uint8_t patience_lasts = 16; // recoveries (RFC 8985, 6.2 step 4)
constexpr uint32_t probe_margin = 8;   // milliseconds: an acknowledgement may take its time

enum phase : uint8_t { in_order, disorder, recovery, loss };

bool has_sack(const tcp_pcb& c) {
  return c.flags & TF_SACK;
}

void leave_order(tcp_pcb& c) {
  tcp_recovery& r = c.recovery;
  if (r.phase != in_order)
    return;
  r.phase = disorder;
  r.window = c.cwnd;
  r.delivered = {c.lastack, 0};
  r.arrived = r.seen = 0;
  r.waiting = 0;
  tcp_set_flags(&c, TF_INFR);
}

void back_in_order(tcp_pcb& c) {
  c.recovery.phase = in_order;
  c.recovery.waiting = c.recovery.probed = 0;
  c.cwnd = c.recovery.window;
  clear_marks(c, TF_SEG_SENT_AGAIN);
  tcp_clear_flags(&c, TF_INFR);
}

void reduce(tcp_pcb& c) {
  tcp_recovery& r = c.recovery;
  reduce_threshold(c, r.window);
  r.began = c.lastack;
  r.repeats = 0;
  r.may_undo = 1;
  r.doubted = r.original = 0;
}

void begin(tcp_pcb& c, phase p) {
  tcp_recovery& r = c.recovery;
  if (r.phase < recovery)
    reduce(c);
  r.phase = p;
  r.flight = max_of<uint32_t>(in_flight(c), 1);
  r.sent = 0;
  r.arrived = r.seen = 0;
  r.counted = c.snd_nxt;
  c.recover = c.snd_nxt;
}

// The other side had all that was sent again: nothing was lost.
void undo(tcp_pcb& c) {
  tcp_recovery& r = c.recovery;
  r.may_undo = r.suspect = 0;
  c.ssthresh = max_of(c.ssthresh, static_cast<tcpwnd_size_t>(r.old_threshold));
  cubic_undo(c.cubic);
  if (r.phase == in_order) {
    c.cwnd = max_of(c.cwnd, static_cast<tcpwnd_size_t>(r.old_window));
    return;
  }
  r.window = max_of(r.window, r.old_window);
  r.phase = disorder;
  clear_marks(c, TF_SEG_LOST);
}

// What it called lost arrives without having been sent again: the time-out came too early.
void undo_timeout(tcp_pcb& c) {
  tcp_recovery& r = c.recovery;
  if (r.phase != loss || !r.suspect || !r.original)
    return;
  undo(c);
  r.delivered = {c.lastack, 0}; // nor has what was sent again overtaken anything
}

// RFC 2883: the first block repeats what was acknowledged, or lies within the second.
bool tells_of_duplicate(const tcp_pcb& c, const tcp_sack_range* b, u8_t count) {
  return TCP_SEQ_LEQ(b[0].right, c.lastack) ||
         (count > 1 && TCP_SEQ_GEQ(b[0].left, b[1].left) && TCP_SEQ_LEQ(b[0].right, b[1].right));
}

// RFC 8985, 6.2 step 4, with a recovery in place of a round trip.
void be_patient(tcp_recovery& r) {
  if (!r.doubted)
    r.patience = static_cast<uint8_t>(min_of(r.patience + 1, int{most_patience}));
  r.doubted = 1;
  r.calm = 0;
}

void note_calm(tcp_recovery& r) {
  if (r.doubted || r.patience <= 1)
    return;
  if (r.calm < patience_lasts - 1) {
    ++r.calm;
    return;
  }
  r.patience = 1;
  r.calm = 0;
}

void note_duplicate(tcp_pcb& c, const tcp_sack_range& b) {
  tcp_recovery& r = c.recovery;
  if (!r.may_undo || r.repeats == 0 || TCP_SEQ_LT(b.left, r.began) ||
      TCP_SEQ_GT(b.right, c.recover) || !TCP_SEQ_LT(b.left, b.right))
    return;
  if (r.phase != loss)
    be_patient(r);
  r.repeats -= min_of<uint32_t>((b.right - b.left + c.mss - 1) / c.mss, r.repeats);
  if (r.repeats == 0)
    undo(c);
}

// What may be sent in addition to what is in the network.
uint32_t allowance(const tcp_pcb& c, uint32_t pipe) {
  const tcp_recovery& r = c.recovery;
  if (r.phase != recovery)
    return r.window - min_of(pipe, r.window);
  if (r.sent == 0 && pipe == 0)
    return c.mss;
  if (pipe > c.ssthresh) { // RFC 6937, 3
    const auto due =
        static_cast<uint32_t>((uint64_t{r.arrived} * c.ssthresh + r.flight - 1) / r.flight);
    return due - min_of(r.sent, due);
  }
  const uint32_t owed = r.arrived - min_of(r.sent, r.arrived);
  return min_of<uint32_t>(c.ssthresh - pipe, max_of(owed, r.arrived - r.seen) + c.mss);
}

bool send_again(tcp_pcb& c, tcp_seg& s) {
  if (tcp_send_again(&c, &s) != ERR_OK)
    return false;
  tcp_recovery& r = c.recovery;
  if (++r.turn == 0)
    r.turn = 1;
  s.again = {c.snd_nxt, r.turn};
  s.again_at = tcp_ticks;
  s.flags = static_cast<u8_t>((s.flags | TF_SEG_SENT_AGAIN) & ~TF_SEG_LOST);
  r.sent += length(s);
  r.repeats =
      static_cast<uint16_t>(min_of<uint32_t>(r.repeats + (length(s) + c.mss - 1) / c.mss, 0xffff));
  if (&s == c.unacked)
    c.rtime = TCP_RTIME_NOW();
  return true;
}

// RFC 5682, 3: the first acknowledgement after a time-out lets two new segments go instead of what
// is lost. If what comes back then is not about what was sent before, the time-out was right.
bool tries_new(tcp_pcb& c) {
  tcp_recovery& r = c.recovery;
  if (!r.suspect || r.sent == 0)
    return false;
  r.suspect = c.snd_nxt == c.recover && c.unsent &&
              c.snd_wnd >= in_flight(c) + min_of<uint32_t>(c.mss, c.unsent->len);
  return r.suspect;
}

// What is lost first, then tcp_output() may send the rest of the allowance.
void send(tcp_pcb& c, bool at_least_one) {
  if (tries_new(c)) {
    c.cwnd = in_flight(c) + 2u * c.mss;
    return;
  }
  uint32_t may = allowance(c, in_network(c));
  if (at_least_one)
    may = max_of<uint32_t>(may, c.mss);
  for (tcp_seg* s = c.unacked; s && may != 0; s = s->next) {
    if (!(s->flags & TF_SEG_LOST))
      continue;
    const uint32_t whole =
        min_of<uint32_t>(max_of<uint32_t>(may - may % c.mss, c.mss), tcp_segment_limit(&c));
    if (length(*s) > whole && !cut(c, *s, sequence(*s) + whole))
      break;
    if (!send_again(c, *s))
      break; // with the device, or no memory: the next acknowledgement tries again
    may -= min_of(may, length(*s));
  }
  c.cwnd = in_flight(c) + may;
}

// After each acknowledgement in a phase, and when a wait is over.
void advance(tcp_pcb& c) {
  tcp_recovery& r = c.recovery;
  if (TCP_SEQ_GT(c.snd_nxt, r.counted)) {
    r.sent += c.snd_nxt - r.counted;
    r.counted = c.snd_nxt;
  }
  const bool at_once = r.patience == 0 && (r.phase >= recovery ||
                                           sacked_bytes(c) > (duplicates_for_loss - 1u) * c.mss);
  const bool lost = find_losses(c, at_once);
  if (r.phase != recovery)
    grow_window(c, r.window, r.arrived - r.seen, in_flight(c) + r.arrived - r.seen);
  const bool begins = lost && r.phase == disorder;
  if (begins)
    begin(c, recovery);
  send(c, begins);
  r.seen = r.arrived;
  if (r.waiting)
    oblako_tcp_arm(&c);
}

// --- without SACK

void begin_newreno(tcp_pcb& c) {
  if (tcp_rexmit(&c) != ERR_OK)
    return; // still with the device: the next duplicate tries again
  reduce_threshold(c, c.cwnd);
  c.recover = c.snd_nxt;
  c.cwnd = c.ssthresh + duplicates_for_loss * c.mss;
  tcp_set_flags(&c, TF_INFR);
  c.rtime = TCP_RTIME_NOW();
}

void newreno_duplicate(tcp_pcb& c) {
  if (c.flags & TF_INFR)
    TCP_WND_INC(c.cwnd, c.mss);
  else if (!(c.flags & TF_RTO) && c.unacked && c.dupacks >= duplicates_for_loss)
    begin_newreno(c);
}

void newreno_partial(tcp_pcb& c, uint32_t bytes) { // RFC 6582, 3.2 (3)
  c.cwnd -= min_of<tcpwnd_size_t>(bytes, c.cwnd - min_of<tcpwnd_size_t>(c.mss, c.cwnd));
  if (bytes >= c.mss)
    TCP_WND_INC(c.cwnd, c.mss);
  tcp_rexmit(&c);
}

bool newreno_goes_on(tcp_pcb& c, uint32_t acknowledged) {
  if (TCP_SEQ_LT(acknowledged, c.recover))
    return true;
  tcp_clear_flags(&c, TF_INFR);
  const uint32_t left = c.snd_nxt - acknowledged;
  c.cwnd = min_of<tcpwnd_size_t>(c.ssthresh, max_of<uint32_t>(left, c.mss) + c.mss);
  c.bytes_acked = 0;
  return false;
}

// --- probing for a lost tail

// RFC 8985, 7.2. With one segment in flight its acknowledgement may be a delayed one, and the probe
// would be no earlier than the time-out.
bool probe_due(const tcp_pcb& c, uint32_t& due) {
  if (!has_sack(c) || c.recovery.phase != in_order || c.nrtx != 0 || c.rtime < 0 || c.sa == 0 ||
      !c.unacked || c.state < ESTABLISHED || in_flight(c) <= c.mss)
    return false;
  const uint32_t running = (tcp_ticks - static_cast<uint32_t>(c.rtime)) & 0x7fffffff;
  const uint32_t wait = 2 * static_cast<uint32_t>(c.sa >> 3) + probe_margin;
  due = tcp_ticks - running + wait;
  return wait < static_cast<uint32_t>(c.rto);
}

// The last octets once more: the answer tells what is missing before them.
void probe_tail(tcp_pcb& c) {
  tcp_seg* last = c.unacked;
  while (last->next)
    last = last->next;
  if (last->len > c.mss) {
    const uint32_t rest = last->len % c.mss;
    if (!cut(c, *last, sequence(*last) + last->len - (rest ? rest : c.mss)))
      return;
    last = last->next;
  }
  // What is being timed lies before, as a rule, and is answered as usual: without its time, probes
  // would come too early for ever on a path that has become slower.
  const uint32_t timed = TCP_SEQ_LT(c.rtseq, sequence(*last)) ? c.rttest : 0;
  if (!send_again(c, *last))
    return;
  c.rttest = timed;
  leave_order(c);
  c.recovery.probed = 1;
  c.recovery.counted = c.snd_nxt;
  c.rtime = TCP_RTIME_NOW();
}

} // namespace

bool recover_from_timeout(tcp_pcb& c) {
  if (!has_sack(c) || c.state < ESTABLISHED || !c.unacked)
    return false;
  tcp_trim_acked(&c, &c.unacked);
  if (!c.unacked || c.unacked->p->ref != 1)
    return false;
  leave_order(c);
  const bool forgot = c.unacked->flags & TF_SEG_SACKED; // thrown away what it had (RFC 2018, 8)
  const bool first = c.recovery.phase < recovery;
  if (forgot)
    clear_marks(c, TF_SEG_SACKED);
  begin(c, loss);
  c.recovery.suspect = first && !forgot;
  cubic_timed_out(c.cubic);
  c.recovery.window = c.mss;
  c.bytes_acked = 0;
  all_lost(c);
  send(c, true);
  return true;
}

void forget_recovery(tcp_pcb& c) {
  tcp_clear_flags(&c, TF_INFR);
  c.dupacks = 0;
  c.recovery.phase = in_order;
  c.recovery.waiting = c.recovery.probed = c.recovery.suspect = 0;
  clear_marks(c, TF_SEG_SACKED | TF_SEG_SENT_AGAIN | TF_SEG_LOST);
}

void send_long_ones_again(tcp_pcb& c) {
  if (!has_sack(c)) {
    if (c.flags & TF_INFR)
      c.cwnd = c.ssthresh;
    forget_recovery(c);
    if (tcp_rexmit_rto_prepare(&c) == ERR_OK)
      c.rtime = TCP_RTIME_NOW();
    return;
  }
  tcp_recovery& r = c.recovery;
  leave_order(c);
  if (r.phase < recovery) {
    r.phase = loss; // but with the window as it is
    r.sent = r.arrived = r.seen = 0;
  }
  r.may_undo = r.suspect = 0;
  r.counted = c.recover = c.snd_nxt;
  for (tcp_seg* s = c.unacked; s; s = s->next)
    if (s->len > c.mss && !(s->flags & TF_SEG_SACKED))
      s->flags |= TF_SEG_LOST;
  send(c, true);
}

bool recovery_waits(const tcp_pcb& c, uint32_t& due) {
  if (c.recovery.waiting) {
    due = c.recovery.overtaken_since + reordering_window(c);
    return true;
  }
  return probe_due(c, due);
}

void recovery_waited(tcp_pcb& c) {
  if (!c.recovery.waiting)
    return probe_tail(c);
  advance(c);
  tcp_output(&c);
}

} // namespace oblako::net

using namespace oblako;
using namespace oblako::net;

extern "C" {

u8_t oblako_tcp_sack(tcp_pcb* c, const tcp_sack_range* blocks, u8_t count) {
  c->recovery.has_sacks = 1;
  u8_t n = 0;
  if (tells_of_duplicate(*c, blocks, count))
    note_duplicate(*c, blocks[n++]);
  if (n == count || !c->unacked)
    return 0;
  leave_order(*c);
  const tcp_send_order known = c->recovery.delivered;
  bool news = false;
  for (; n < count; ++n)
    news |= note_block(*c, blocks[n], known);
  undo_timeout(*c);
  if (!news && c->recovery.phase == disorder && !any_marked(*c, TF_SEG_SACKED) &&
      !c->recovery.probed)
    back_in_order(*c); // the blocks told nothing that can be used
  return news;
}

void oblako_tcp_duplicate(tcp_pcb* c) {
  tcp_trim_acked(c, &c->unacked); // what is acknowledged of the first segment is not missing
  if (!has_sack(*c))
    return newreno_duplicate(*c);
  if (!c->recovery.has_sacks && c->unacked && c->dupacks >= duplicates_for_loss &&
      c->recovery.phase == in_order) { // it could send blocks, but does not
    leave_order(*c);
    c->unacked->flags |= TF_SEG_LOST;
  }
  c->recovery.suspect = 0; // RFC 5682, 3 (2a)
  if (c->recovery.phase != in_order)
    advance(*c);
}

u8_t oblako_tcp_recovering(tcp_pcb* c, u32_t acknowledged) {
  if (!has_sack(*c))
    return newreno_goes_on(*c, acknowledged);
  tcp_recovery& r = c->recovery;
  note_acknowledged(*c, acknowledged);
  undo_timeout(*c);
  if (r.phase >= recovery && TCP_SEQ_GEQ(acknowledged, c->recover)) {
    if (r.phase == recovery) {
      r.window = c->ssthresh;
      note_calm(r);
    }
    r.phase = disorder;
    r.suspect = 0;
    c->bytes_acked = 0;
  }
  if (r.phase != disorder)
    return 1;
  for (const tcp_seg* s = c->unacked; s; s = s->next)
    if (TCP_SEQ_GT(end(*s), acknowledged) && (s->flags & (TF_SEG_SACKED | TF_SEG_LOST)))
      return 1;
  back_in_order(*c);
  return 0;
}

void oblako_tcp_partial(tcp_pcb* c, u32_t bytes) {
  tcp_trim_acked(c, &c->unacked);
  if (has_sack(*c))
    advance(*c);
  else
    newreno_partial(*c, bytes);
}

} // extern "C"
