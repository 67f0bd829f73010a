#include "core/net/tcp_watch.hh"

#include "core/net/port.hh"
#include "core/net/tcp_socket.hh"
#include "core/net/timers.hh"
#include "hooks.h"
#include "lwip/priv/tcp_priv.h"

namespace oblako::net {
namespace {

// So many connections without a socket may finish in peace.
constexpr unsigned max_orphans = 4096;
// What `closed_at` counts in: quarters of a second, for a minute.
constexpr unsigned closed_at_shift = 8;
constexpr unsigned resets_per_second = 64;
// lwIP's last step of waiting with a shut window: about 25 seconds without a byte.
constexpr uint8_t last_persist_step = 7;
// How often a closed socket's data is sent again.
constexpr unsigned orphan_retransmissions = 8;

// Oldest first.
tcp_pcb* first_orphan;
tcp_pcb** last_link = &first_orphan;
unsigned orphans;
uint64_t due = time::no_deadline;

bool is_orphan(const tcp_pcb& c) {
  return c.callback_arg == nullptr && c.state != SYN_RCVD;
}

bool gets_nowhere(const tcp_pcb& c) {
  return c.nrtx > orphan_retransmissions ||
         (c.persist_backoff >= last_persist_step && c.snd_wnd == 0);
}

} // namespace

bool patience_ends(const tcp_pcb& c, uint32_t& when) {
  if (is_orphan(c) || c.state == SYN_RCVD || !(c.unacked || c.unsent))
    return false;
  const auto& s = *static_cast<const tcp_socket*>(c.callback_arg);
  if (s.user_timeout_ms_ == 0)
    return false;
  when = s.progress_ + s.user_timeout_ms_;
  return true;
}

bool held_back(const tcp_pcb& c, uint32_t& when) {
  constexpr uint32_t longest = 200;
  if (!c.unsent || is_orphan(c) || c.state == SYN_RCVD)
    return false;
  const auto& s = *static_cast<const tcp_socket*>(c.callback_arg);
  when = s.held_since_ + longest;
  return s.held_back_;
}

void hold_no_longer(tcp_pcb& c) {
  auto& s = *static_cast<tcp_socket*>(c.callback_arg);
  s.held_back_ = false;
  s.corked_bytes_ = 0;
  tcp_output(&c);
}

bool given_up(const tcp_pcb& c) {
  if (is_orphan(c))
    return gets_nowhere(c);
  uint32_t when;
  return patience_ends(c, when) && static_cast<int32_t>(tcp_ticks - when) > 0;
}

void watch_orphan(tcp_pcb& c) {
  if (c.state == CLOSED)
    return;
  c.closed_at = static_cast<uint8_t>(tcp_ticks >> closed_at_shift);
  c.orphan_next = nullptr;
  c.orphan_link = last_link;
  *last_link = &c;
  last_link = &c.orphan_next;
  if (++orphans == 1) {
    due = time_of_tick(tcp_ticks) + time::ns_per_s;
    timers_changed = true;
  }
}

void forget_orphan(tcp_pcb& c) {
  if (!c.orphan_link)
    return;
  *c.orphan_link = c.orphan_next;
  (c.orphan_next ? c.orphan_next->orphan_link : last_link) = c.orphan_link;
  c.orphan_link = nullptr;
  --orphans;
}

unsigned reset_orphans(uint32_t ms) {
  unsigned count = 0;
  while (tcp_pcb* c = first_orphan) {
    const auto age = static_cast<uint8_t>((tcp_ticks >> closed_at_shift) - c->closed_at);
    if (uint32_t{age} << closed_at_shift < ms)
      break;
    tcp_abort(c);
    ++count;
  }
  return count;
}

bool run_watch(uint64_t now) {
  if (now < due)
    return false;
  for (unsigned n = 0; n < resets_per_second && first_orphan; ++n) {
    if (orphans <= max_orphans)
      break;
    tcp_abort(first_orphan);
  }
  due = first_orphan ? now + time::ns_per_s : time::no_deadline;
  timers_changed = true;
  return true;
}

uint64_t next_watch() {
  return due;
}

void close_connections() {
  for (tcp_pcb *c = tcp_active_pcbs, *next; c; c = next) {
    next = c->next;
    if (!is_orphan(*c) && c->state != SYN_RCVD)
      static_cast<tcp_socket*>(c->callback_arg)->close_block();
  }
}

bool connections_pending() {
  for (tcp_pcb* c = tcp_active_pcbs; c; c = c->next)
    if (c->unsent || c->unacked)
      return true;
  return false;
}

} // namespace oblako::net

// RFC 5961, 7: ten in five seconds. Each connection has its own, because a limit for all together
// would tell one peer about the others' connections.
extern "C" u8_t oblako_tcp_may_challenge(tcp_pcb* c) {
  constexpr uint32_t period = 5000;
  constexpr uint8_t most = 10;
  if (c->challenges == 0 || tcp_ticks - c->challenged >= period) {
    c->challenged = tcp_ticks;
    c->challenges = 0;
  }
  if (c->challenges == most)
    return 0;
  ++c->challenges;
  return 1;
}
