// What TCP does when nothing arrives: retransmission (RFC 6298), delayed acknowledgements, probes
// of a closed window, keepalive, and the ends of states that may not last. It takes the place of
// lwIP's tcp_slowtmr() and tcp_fasttmr(), which walk all connections at every tick.
//
// A connection has one timer. It is armed for the earliest of all it has to time, or earlier: what
// is put off leaves the timer where it is, and when that fires it is armed anew. So a busy
// connection moves its timer some 25 times a second, not with every segment.
#include "core/net/tcp_timers.hh"

#include "core/base/types.hh"
#include "core/net/congestion.hh"
#include "core/net/cubic.hh"
#include "core/net/tcp_path.hh"
#include "core/net/tcp_predict.hh"
#include "core/net/tcp_recovery.hh"
#include "core/net/tcp_watch.hh"
#include "core/net/timer_wheel.hh"
#include "core/net/timers.hh"
#include "hooks.h"
#include "lwip/priv/tcp_priv.h"

namespace oblako::net {
namespace {

// Milliseconds.
constexpr uint32_t delayed_ack = 40;
constexpr uint32_t again = 10; // after what failed for want of memory, or of a free segment
constexpr uint32_t longest_rto = 120'000;
constexpr uint32_t longest_fin_wait = 20'000, longest_syn_received = 20'000;
constexpr uint32_t longest_last_ack = 2 * TCP_MSL;
constexpr uint32_t shortest_reassembly = 3'000;
constexpr uint8_t persist_steps = 7;
static_assert(delayed_ack >= OBLAKO_TCP_NEAR && TCP_RTO_MIN >= OBLAKO_TCP_NEAR);

constinit timer_wheel wheel;
uint32_t earliest; // no timer fires before it

constexpr tcpflags_t unfinished = TF_ACK_NOW | TF_CLOSEPEND | TF_NAGLEMEMERR;

uint32_t since(uint32_t then) {
  return tcp_ticks - then;
}
bool passed(uint32_t due) {
  return static_cast<int32_t>(tcp_ticks - due) >= 0;
}

// The retransmission timer keeps 31 bits of the clock.
uint32_t retransmission_due(const tcp_pcb& c) {
  const uint32_t running = (tcp_ticks - static_cast<uint32_t>(c.rtime)) & 0x7fffffff;
  return tcp_ticks - running + static_cast<uint32_t>(c.rto);
}

uint32_t backed_off(const tcp_pcb& c, unsigned times) {
  const auto base = static_cast<uint32_t>(TCP_RTO(&c));
  return static_cast<uint32_t>(min_of<uint64_t>(uint64_t{base} << min_of(times, 20u), longest_rto));
}

uint32_t probe_due(const tcp_pcb& c) {
  return c.persist_start + backed_off(c, c.persist_backoff - 1u);
}

// Segments coalesce their acknowledgements' timers: eight milliseconds are one.
uint32_t acknowledgement_due(const tcp_pcb& c) {
  return (c.tmr + delayed_ack + 7) & ~7u;
}

bool kept_alive(const tcp_pcb& c) {
  return (c.so_options & SOF_KEEPALIVE) && (c.state == ESTABLISHED || c.state == CLOSE_WAIT) &&
         !c.unacked && !c.unsent;
}

uint32_t keepalive_due(const tcp_pcb& c) {
  return c.tmr + c.keep_idle + c.keep_cnt_sent * c.keep_intvl;
}

uint32_t reassembly_due(const tcp_pcb& c) {
  return c.tmr + max_of(static_cast<uint32_t>(c.rto) * TCP_OOSEQ_TIMEOUT, shortest_reassembly);
}

// How long this state may last without a segment; 0: for ever.
uint32_t longest_stay(const tcp_pcb& c) {
  switch (c.state) {
  case SYN_RCVD:
    return longest_syn_received;
  case FIN_WAIT_2:
    return c.flags & TF_RXCLOSED ? longest_fin_wait : 0; // a half-closed one may stay
  case LAST_ACK:
    return longest_last_ack;
  default:
    return 0;
  }
}

class earliest_of {
public:
  void add(uint32_t due) {
    if (!any_ || static_cast<int32_t>(due - due_) < 0)
      due_ = due;
    any_ = true;
  }
  bool any() const { return any_; }
  uint32_t due() const { return due_; }

private:
  uint32_t due_ = 0;
  bool any_ = false;
};

earliest_of next_of(const tcp_pcb& c) {
  earliest_of next;
  if (c.state == CLOSED)
    return next;
  if (c.flags & TF_ACK_DELAY)
    next.add(acknowledgement_due(c));
  if ((c.flags & unfinished) || c.refused_data)
    next.add(tcp_ticks + OBLAKO_TCP_NEAR);
  if (c.persist_backoff > 0)
    next.add(probe_due(c));
  else if (c.rtime >= 0)
    next.add(retransmission_due(c));
  if (kept_alive(c))
    next.add(keepalive_due(c));
  if (c.ooseq)
    next.add(reassembly_due(c));
  if (const uint32_t limit = longest_stay(c))
    next.add(c.tmr + limit);
  uint32_t due;
  if (patience_ends(c, due))
    next.add(due);
  if (held_back(c, due))
    next.add(due);
  if (recovery_waits(c, due))
    next.add(due);
  return next;
}

void arm(tcp_pcb& c, uint32_t due) {
  const bool first = wheel.empty();
  wheel.arm(c.timer, due);
  if (first || static_cast<int32_t>(c.timer.due - earliest) < 0) {
    earliest = c.timer.due;
    timers_changed = true;
  }
}

void arm_by(tcp_pcb& c, uint32_t due) {
  if (!c.timer.link || static_cast<int32_t>(due - c.timer.due) < 0)
    arm(c, due);
}

enum class outcome : uint8_t { goes_on, gone };

// The connection ends here, and its socket hears of it.
outcome time_out(tcp_pcb& c) {
  tcp_abandon(&c, 0);
  return outcome::gone;
}

void acknowledge(tcp_pcb& c) {
  if (!(c.flags & TF_ACK_DELAY) || !passed(acknowledgement_due(c)))
    return;
  acknowledge_now(c); // takes both flags away, if there was memory for the segment
}

void finish_what_failed(tcp_pcb& c) {
  if (c.flags & TF_CLOSEPEND) {
    tcp_clear_flags(&c, TF_CLOSEPEND);
    tcp_close_shutdown_fin(&c);
  }
  if (c.flags & (TF_NAGLEMEMERR | TF_ACK_NOW))
    tcp_output(&c);
}

outcome probe_window(tcp_pcb& c) {
  if (!passed(probe_due(c)))
    return outcome::goes_on;
  if (c.persist_probe >= TCP_MAXRTX)
    return time_out(c);
  bool next_step = true;
  if (c.snd_wnd == 0)
    next_step = tcp_zero_window_probe(&c) == ERR_OK;
  else if (tcp_split_unsent_seg(&c, static_cast<u16_t>(min_of<tcpwnd_size_t>(c.snd_wnd, 0xffff))) ==
           ERR_OK)
    next_step = tcp_output(&c) != ERR_OK; // what fits now ends the probing
  if (next_step) {
    c.persist_start = tcp_ticks;
    if (c.persist_backoff != 0 && c.persist_backoff < persist_steps)
      ++c.persist_backoff;
  }
  return outcome::goes_on;
}

// RFC 5681, 3.1: the window starts again from one segment; only the first time-out says something
// about the path.
void congested(tcp_pcb& c) {
  if (c.nrtx == 0)
    reduce_threshold(c, c.cwnd);
  cubic_timed_out(c.cubic);
  c.cwnd = c.mss;
  c.bytes_acked = 0;
}

outcome retransmit_lost(tcp_pcb& c) {
  if (!recover_from_timeout(c))
    return outcome::goes_on; // still with the device: try again soon
  c.rto = static_cast<s32_t>(backed_off(c, c.nrtx + 1u));
  c.rtime = TCP_RTIME_NOW();
  if (c.nrtx < 0xff)
    ++c.nrtx;
  tcp_output(&c);
  return outcome::goes_on;
}

outcome retransmit(tcp_pcb& c) {
  if (!passed(retransmission_due(c)))
    return outcome::goes_on;
  if (c.nrtx >= (c.state == SYN_SENT ? TCP_SYNMAXRTX : TCP_MAXRTX))
    return time_out(c);
  if (!c.unacked && !c.unsent) {
    c.rtime = -1;
    return outcome::goes_on;
  }
  suspect_path(c);
  if ((c.flags & TF_SACK) && c.unacked && c.state >= ESTABLISHED)
    return retransmit_lost(c);
  forget_recovery(c);
  // A segment that is still with the device stays there: try again soon.
  if (tcp_rexmit_rto_prepare(&c) != ERR_OK && c.unacked)
    return outcome::goes_on;
  c.rto = static_cast<s32_t>(backed_off(c, c.nrtx + 1u));
  c.rtime = TCP_RTIME_NOW();
  congested(c);
  tcp_rexmit_rto_commit(&c);
  return outcome::goes_on;
}

outcome keep_alive(tcp_pcb& c) {
  if (!kept_alive(c) || !passed(keepalive_due(c)))
    return outcome::goes_on;
  if (c.keep_cnt_sent >= c.keep_cnt) {
    tcp_abort(&c);
    return outcome::gone;
  }
  if (tcp_keepalive(&c) == ERR_OK)
    ++c.keep_cnt_sent;
  return outcome::goes_on;
}

outcome look_after(tcp_pcb& c) {
  if (given_up(c)) {
    tcp_abort(&c);
    return outcome::gone;
  }
  if (const uint32_t limit = longest_stay(c); limit != 0 && since(c.tmr) >= limit)
    return time_out(c);
  acknowledge(c);
  finish_what_failed(c);
  if (uint32_t due; held_back(c, due) && passed(due))
    hold_no_longer(c);
  if (uint32_t due; recovery_waits(c, due) && passed(due))
    recovery_waited(c);
  if (c.refused_data && tcp_process_refused_data(&c) == ERR_ABRT)
    return outcome::gone;
  if (c.ooseq && passed(reassembly_due(c)))
    tcp_free_ooseq(&c); // it will be sent again
  if (c.persist_backoff > 0 ? probe_window(c) == outcome::gone
                            : c.rtime >= 0 && retransmit(c) == outcome::gone)
    return outcome::gone;
  return keep_alive(c);
}

// What most timers find that fire with many connections: nothing is under way, and at most an
// acknowledgement is due, or the next thing is to keep alive. False: there is more to look after.
bool look_after_quiet(tcp_pcb& c) {
  if (c.state != ESTABLISHED || !c.callback_arg || c.unacked || c.unsent || c.ooseq ||
      c.refused_data || c.rtime >= 0 || c.persist_backoff != 0 || c.recovery.waiting ||
      (c.flags & unfinished))
    return false;
  if (c.flags & TF_ACK_DELAY) {
    if (!passed(acknowledgement_due(c))) {
      arm(c, acknowledgement_due(c));
      return true;
    }
    if (!send_acknowledgement(c))
      return false;
  }
  if (!(c.so_options & SOF_KEEPALIVE))
    return true;
  if (passed(keepalive_due(c)))
    return false;
  arm(c, keepalive_due(c));
  return true;
}

void fired(wheel_timer& t) {
  auto& c = *reinterpret_cast<tcp_pcb*>(reinterpret_cast<char*>(&t) - offsetof(tcp_pcb, timer));
  if (look_after_quiet(c))
    return;
  if (look_after(c) == outcome::gone)
    return;
  const earliest_of next = next_of(c);
  if (next.any())
    arm(c, passed(next.due()) ? tcp_ticks + again : next.due());
}

} // namespace

void start_connection_timers() {
  wheel.start(tcp_ticks);
}

bool run_connection_timers() {
  if (!passed(earliest) || wheel.empty())
    return false;
  const bool any = wheel.advance(tcp_ticks, fired);
  if (!wheel.empty())
    earliest = wheel.next();
  return any;
}

uint64_t next_connection_timer() {
  if (wheel.empty())
    return time::no_deadline;
  return time_of_tick(earliest);
}

void time_acknowledgement(tcp_pcb& c) {
  arm_by(c, acknowledgement_due(c));
}

void time_retransmission(tcp_pcb& c) {
  earliest_of next;
  next.add(retransmission_due(c));
  if (uint32_t due; patience_ends(c, due))
    next.add(due);
  arm_by(c, next.due());
}

void forget_connection(tcp_pcb& c) {
  wheel.disarm(c.timer);
  forget_orphan(c);
}

} // namespace oblako::net

extern "C" void oblako_tcp_arm(tcp_pcb* c) {
  using namespace oblako::net;
  const earliest_of next = next_of(*c);
  if (next.any())
    arm_by(*c, next.due());
}
