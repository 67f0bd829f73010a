#include "core/net/tcp_watch.hh"

#include "core/net/port.hh"
#include "core/net/tcp_socket.hh"
#include "core/time/clock.hh"
#include "lwip/priv/tcp_priv.h"

namespace oblako::net {
namespace {

// Connections without a socket: so many may finish in peace. Beyond that, or with memory short, the
// one that has been idle longest is reset.
constexpr unsigned max_orphans = 4096;
// lwIP's last step of waiting with a shut window: about 20 seconds without a byte.
constexpr uint8_t last_persist_step = 7;
// How often a closed socket's data is sent again.
constexpr unsigned orphan_retransmissions = 8;

// Connections in TIME_WAIT; the oldest are forgotten early beyond that.
constexpr unsigned max_time_wait = 8192;

bool is_orphan(const tcp_pcb& c) {
  return c.callback_arg == nullptr && c.state != SYN_RCVD;
}

bool gets_nowhere(const tcp_pcb& c) {
  return c.nrtx > orphan_retransmissions ||
         (c.persist_backoff >= last_persist_step && c.snd_wnd == 0);
}

// The list has the youngest first.
void limit_time_wait() {
  unsigned count = 0;
  for (tcp_pcb* c = tcp_tw_pcbs; c; c = c->next) {
    if (++count < max_time_wait)
      continue;
    while (tcp_pcb* old = c->next) {
      c->next = old->next;
      tcp_free(old);
    }
  }
}

} // namespace

void watch_connections(uint64_t now) {
  limit_time_wait();
  unsigned orphans = 0;
  tcp_pcb* oldest = nullptr;
  for (tcp_pcb *c = tcp_active_pcbs, *next; c; c = next) {
    next = c->next;
    if (!is_orphan(*c)) {
      if (c->state == SYN_RCVD)
        continue;
      auto* s = static_cast<tcp_socket*>(c->callback_arg);
      const bool waits = c->unacked || c->unsent;
      if (s->user_timeout_ms_ != 0 && waits &&
          now - s->progress_ > s->user_timeout_ms_ * time::ns_per_ms)
        tcp_abort(c); // reported to the socket as a time-out
      continue;
    }
    if (gets_nowhere(*c)) {
      tcp_abort(c);
      continue;
    }
    ++orphans;
    if (!oldest || static_cast<int32_t>(c->tmr - oldest->tmr) < 0)
      oldest = c;
  }
  if (oldest && (orphans > max_orphans || memory_is_short()))
    tcp_abort(oldest);
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
