#include "core/net/tcp_path.hh"

#include "core/base/types.hh"
#include "core/net/interface_internal.hh"
#include "core/net/path_mtu.hh"
#include "core/net/tcp_recovery.hh"
#include "core/net/tcp_scoreboard.hh"
#include "core/net/tcp_socket.hh"
#include "lwip/ip.h"

namespace oblako::net {
namespace {

bool ipv6(const tcp_pcb& c) {
  return IP_IS_V6_VAL(c.remote_ip);
}

uint16_t headers(const tcp_pcb& c) {
  return (ipv6(c) ? IP6_HLEN : IP_HLEN) + TCP_HLEN;
}

bool in_flight(const tcp_pcb& c, uint32_t sequence) {
  return sequence - c.lastack < c.snd_nxt - c.lastack;
}

// After a time-out without SACK, what is in flight waits in the other queue.
const tcp_seg* segment_at(const tcp_pcb& c, uint32_t number) {
  for (const tcp_seg* list : {c.unacked, c.unsent})
    for (const tcp_seg* s = list; s && TCP_SEQ_LEQ(sequence(*s), number); s = s->next)
      if (number - sequence(*s) < length(*s))
        return s;
  return nullptr;
}

void narrow(tcp_pcb& c, uint16_t mtu) {
  narrow_path(c.remote_ip, mtu);
  c.mss = static_cast<uint16_t>(mtu - headers(c));
}

} // namespace

void segment_was_too_big(tcp_pcb& c, uint32_t sequence, uint16_t mtu) {
  const int mss = mtu - headers(c);
  if (mss >= c.mss || c.state < ESTABLISHED || !in_flight(c, sequence))
    return;
  const tcp_seg* s = segment_at(c, sequence);
  if (!s || s->len <= mss)
    return;
  narrow(c, mtu);
  // What the router had, the device is done with.
  if (netif* n = ip_current_input_netif(); n && is_ours(n))
    interface_of(n).dev->reclaim_transmitted();
  send_long_ones_again(c);
  tcp_output(&c);
}

void segment_was_lost(tcp_pcb& c, uint32_t sequence, error why) {
  if (!in_flight(c, sequence) || !c.callback_arg || c.state == SYN_RCVD)
    return;
  static_cast<tcp_socket*>(c.callback_arg)->note_error(why);
  if (c.state == SYN_SENT)
    tcp_abandon(&c, 0);
}

void suspect_path(tcp_pcb& c) {
  constexpr uint8_t first_doubt = 3, last_doubt = 5; // time-outs of the same segment before
  constexpr uint16_t usual = 1064;                   // what Linux tries: 1,024 bytes of data
  const tcp_seg* s = c.unacked ? c.unacked : c.unsent;
  if ((c.nrtx != first_doubt && c.nrtx != last_doubt) || c.state < ESTABLISHED || !s)
    return;
  const uint16_t mtu =
      c.nrtx == first_doubt ? max_of(usual, least_path_mtu(ipv6(c))) : least_path_mtu(ipv6(c));
  const int mss = mtu - headers(c);
  if (mss < c.mss && s->len > mss)
    narrow(c, mtu);
}

void resize_segments() {
  for (tcp_pcb* c = tcp_active_pcbs; c; c = c->next) {
    netif* n = ip_route(&c->local_ip, &c->remote_ip);
    if (n && c->state >= ESTABLISHED)
      c->mss = tcp_eff_send_mss_netif(c->mss_offered, n, &c->remote_ip);
  }
}

} // namespace oblako::net
