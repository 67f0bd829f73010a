// TCP counts in ticks. They run at full rate (50 ms) while any connection has data in flight, an
// acknowledgement to send or a handshake going on; once a second while connections only have
// keepalive or closing states to time out; and not at all otherwise. Because ticks may be left out,
// the tick counter follows the clock instead of the calls.
#include "core/net/timers.hh"

#include "core/base/types.hh"
#include "core/net/interface.hh"
#include "core/net/tcp_watch.hh"
#include "core/time/clock.hh"
#include "lwip/dhcp.h"
#include "lwip/etharp.h"
#include "lwip/ip4_frag.h"
#include "lwip/ip6_frag.h"
#include "lwip/nd6.h"
#include "lwip/priv/tcp_priv.h"

namespace oblako::net {

bool timers_changed = true;

namespace {

constexpr uint64_t fine_tick = TCP_FAST_INTERVAL * time::ns_per_ms;
constexpr uint64_t slow_tick = TCP_SLOW_INTERVAL * time::ns_per_ms;
constexpr uint64_t coarse_tick = time::ns_per_s;
constexpr uint64_t half_second = time::ns_per_s / 2;

enum class tcp_rate : uint8_t { stopped, coarse, fine };

tcp_rate rate = tcp_rate::stopped;
uint64_t tcp_due = time::no_deadline;
unsigned tcp_phase;
uint64_t link_due = time::no_deadline; // ARP, neighbours, fragments, DHCP: every half second
unsigned link_phase;

bool waits_for_nothing(const tcp_pcb& c) {
  return !c.unsent && !c.unacked && !c.refused_data && !c.ooseq && c.persist_backoff == 0 &&
         !(c.flags & (TF_ACK_DELAY | TF_ACK_NOW | TF_CLOSEPEND)) && c.state != SYN_SENT &&
         c.state != SYN_RCVD;
}

bool may_time_out(const tcp_pcb& c) {
  return (c.so_options & SOF_KEEPALIVE) || (c.state != ESTABLISHED && c.state != CLOSE_WAIT);
}

tcp_rate needed_rate() {
  tcp_rate needed = tcp_tw_pcbs ? tcp_rate::coarse : tcp_rate::stopped;
  for (const tcp_pcb* c = tcp_active_pcbs; c; c = c->next) {
    if (!waits_for_nothing(*c))
      return tcp_rate::fine;
    if (may_time_out(*c))
      needed = tcp_rate::coarse;
  }
  return needed;
}

void run_tcp(uint64_t now) {
  if (rate == tcp_rate::fine)
    tcp_fasttmr();
  if (rate == tcp_rate::coarse || (++tcp_phase & 1) == 0) {
    --tcp_ticks; // tcp_slowtmr() adds one; the clock has already been counted
    tcp_slowtmr();
    watch_connections(now);
    rate = needed_rate();
  }
  tcp_due = rate == tcp_rate::stopped  ? time::no_deadline
            : rate == tcp_rate::coarse ? now + coarse_tick
                                       : now + fine_tick;
  timers_changed = true;
}

void run_link(uint64_t now) {
  dhcp_fine_tmr();
  if (++link_phase % 2 == 0) {
    etharp_tmr();
    ip_reass_tmr();
    nd6_tmr();
    ip6_reass_tmr();
    check_links();
  }
  if (link_phase % (2 * DHCP_COARSE_TIMER_SECS) == 0)
    dhcp_coarse_tmr();
  link_due = now + half_second;
  timers_changed = true;
}

} // namespace

void start_timers(uint64_t now) {
  update_tcp_clock(now);
  if (have_interfaces())
    link_due = now + half_second;
  timers_changed = true;
}

void update_tcp_clock(uint64_t now) {
  tcp_ticks = static_cast<uint32_t>(now / slow_tick) + 1;
}

void note_tcp_activity() {
  if (rate == tcp_rate::fine)
    return;
  rate = tcp_rate::fine;
  tcp_due = time::monotonic_ns() + fine_tick;
  timers_changed = true;
}

bool run_timers(uint64_t now) {
  bool ran = false;
  if (now >= tcp_due) {
    run_tcp(now);
    ran = true;
  }
  if (now >= link_due) {
    run_link(now);
    ran = true;
  }
  return ran;
}

uint64_t next_timer_deadline() {
  return min_of(tcp_due, link_due);
}

} // namespace oblako::net

// lwIP registered a connection.
extern "C" void tcp_timer_needed(void) {
  oblako::net::note_tcp_activity();
}
