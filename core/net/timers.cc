#include "core/net/timers.hh"

#include "core/base/types.hh"
#include "core/net/interface.hh"
#include "core/net/memory_pressure.hh"
#include "core/net/path_mtu.hh"
#include "core/net/tcp_handshake.hh"
#include "core/net/tcp_timers.hh"
#include "core/net/tcp_watch.hh"
#include "lwip/dhcp.h"
#include "lwip/etharp.h"
#include "lwip/ip4_frag.h"
#include "lwip/ip6_frag.h"
#include "lwip/nd6.h"
#include "lwip/priv/tcp_priv.h"

namespace oblako::net {

bool timers_changed = true;
bool tcp_clock_stale = true;

namespace {

constexpr uint64_t half_second = time::ns_per_s / 2;

uint64_t link_due = time::no_deadline; // ARP, neighbours, fragments, DHCP: every half second
unsigned link_phase;
uint64_t clock_ms;
// The earliest of all, as of the last look. What comes earlier sets timers_changed.
uint64_t deadline = time::no_deadline;

void run_link(uint64_t now) {
  dhcp_fine_tmr();
  if (++link_phase % 2 == 0) {
    etharp_tmr();
    ip_reass_tmr();
    nd6_tmr();
    ip6_reass_tmr();
    check_links();
    run_path_mtu();
  }
  if (link_phase % (2 * DHCP_COARSE_TIMER_SECS) == 0)
    dhcp_coarse_tmr();
  look_at_memory(now);
  link_due = now + half_second;
  timers_changed = true;
}

} // namespace

void start_timers(uint64_t now) {
  update_tcp_clock(now);
  start_connection_timers();
  start_handshakes();
  if (have_interfaces())
    link_due = now + half_second;
  timers_changed = true;
}

// The ticks begin with 1: in lwIP's rttest 0 means that there is no measurement.
void update_tcp_clock(uint64_t now) {
  clock_ms = now / time::ns_per_ms;
  tcp_ticks = static_cast<uint32_t>(clock_ms) + 1;
}

uint64_t time_of_tick(uint32_t tick) {
  const auto ahead = static_cast<int32_t>(tick - tcp_ticks);
  return (clock_ms + static_cast<uint64_t>(int64_t{ahead})) * time::ns_per_ms;
}

void note_tcp_activity(tcp_pcb& c) {
  oblako_tcp_arm(&c);
}

bool run_timers(uint64_t now) {
  if (!timers_changed && now < deadline) [[likely]]
    return false;
  bool ran = run_connection_timers();
  ran |= run_handshakes();
  ran |= run_watch(now);
  if (now >= link_due) {
    run_link(now);
    ran = true;
  }
  ran |= run_memory_pressure(now);
  timers_changed = true;
  return ran;
}

uint64_t next_timer_deadline() {
  if (timers_changed)
    deadline =
        min_of(min_of(min_of(next_connection_timer(), next_handshake()), next_memory_pressure()),
               min_of(next_watch(), link_due));
  return deadline;
}

} // namespace oblako::net

extern "C" void tcp_timer_needed(void) {}
