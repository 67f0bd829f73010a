// What lwIP asks for segments that belong to no control block: to a listener, or to a connection in
// TIME_WAIT (patch 31). The records are those of syn_queue.hh and time_wait.hh; this file knows the
// segments.
//
// A SYN is answered from a record in the queue, or from a cookie when the queue is full. The
// acknowledgement of the answer makes a control block in SYN_RCVD, and lwIP goes on from there with
// the same segment. If the listener's backlog is full, the record waits in line (backlog.hh), and
// the segment comes again from here when there is room: if it were dropped, the other side would
// send at ever longer intervals and meet a full backlog time after time.
#include "core/net/tcp_handshake.hh"

#include "core/mem/frames.hh"
#include "core/net/backlog.hh"
#include "core/net/memory_pressure.hh"
#include "core/net/port.hh"
#include "core/net/syn_queue.hh"
#include "core/net/tcp_lookup.hh"
#include "core/net/tcp_socket.hh"
#include "core/net/time_wait.hh"
#include "core/net/timers.hh"
#include "hooks.h"
#include "lwip/inet_chksum.h"
#include "lwip/ip.h"
#include "lwip/priv/tcp_priv.h"

namespace oblako::net {
namespace {

constexpr uint32_t time_wait_ms = 60'000;
// The ISN of a connection that follows one in TIME_WAIT lies so far beyond its last octet.
constexpr uint32_t beyond_the_old = 65'536 + 2;

constinit syn_queue half_open_connections;
constinit time_wait_table ended(time_wait_ms);
siphash_key table_key, cookie_key;
uint32_t cookie_sent; // when the last one was, 0: never

uint64_t hash(const flow& f) {
  return hash_of(f, table_key);
}

void copy_address(uint32_t (&to)[4], const ip_addr_t& from) {
  if (IP_IS_V6_VAL(from))
    __builtin_memcpy(to, ip_2_ip6(&from)->addr, sizeof to);
  else
    to[0] = ip4_addr_get_u32(ip_2_ip4(&from));
}

flow flow_of(const ip_addr_t& local, uint16_t local_port, const ip_addr_t& remote,
             uint16_t remote_port) {
  flow f;
  copy_address(f.local, local);
  copy_address(f.remote, remote);
  f.local_port = local_port;
  f.remote_port = remote_port;
  if (IP_IS_V6_VAL(remote)) {
    f.version = 6;
    f.zone = ip6_addr_zone(ip_2_ip6(&remote));
  }
  return f;
}

ip_addr_t address_of(const uint32_t (&from)[4], const flow& f) {
  ip_addr_t a = {};
  if (f.version == 6) {
    __builtin_memcpy(ip_2_ip6(&a)->addr, from, sizeof from);
    ip6_addr_set_zone(ip_2_ip6(&a), f.zone);
    IP_SET_TYPE_VAL(a, IPADDR_TYPE_V6);
  } else {
    ip_addr_set_ip4_u32_val(a, from[0]);
  }
  return a;
}

flow flow_of_packet(const oblako_tcp_segment& s) {
  return flow_of(*ip_current_dest_addr(), s.header->dest, *ip_current_src_addr(), s.header->src);
}

struct answer {
  uint32_t sequence, acknowledged;
  uint8_t flags;
  uint16_t window; // as it stands in the header
  uint8_t time_to_live = TCP_TTL, type_of_service = 0;
  uint32_t options[3] = {};
  unsigned option_words = 0;
};

// Sends a segment without data. If there is no memory it is lost, as any packet may be.
void send(const flow& f, const answer& a) {
  const auto length = static_cast<u16_t>(TCP_HLEN + 4 * a.option_words);
  const ip_addr_t local = address_of(f.local, f), remote = address_of(f.remote, f);
  netif* way = ip_route(&local, &remote);
  pbuf* p = way ? pbuf_alloc(PBUF_IP, length, PBUF_RAM) : nullptr;
  if (!p)
    return;
  auto* h = static_cast<tcp_hdr*>(p->payload);
  h->src = lwip_htons(f.local_port);
  h->dest = lwip_htons(f.remote_port);
  h->seqno = lwip_htonl(a.sequence);
  h->ackno = lwip_htonl(a.acknowledged);
  TCPH_HDRLEN_FLAGS_SET(h, length / 4, a.flags);
  h->wnd = lwip_htons(a.window);
  h->chksum = 0;
  h->urgp = 0;
  __builtin_memcpy(h + 1, a.options, 4 * a.option_words);
  IF__NETIF_CHECKSUM_ENABLED(way, NETIF_CHECKSUM_GEN_TCP) {
    h->chksum = ip_chksum_pseudo(p, IP_PROTO_TCP, p->tot_len, &local, &remote);
  }
  TCP_OUTPUT_IF(p, &local, &remote, a.time_to_live, a.type_of_service, IP_PROTO_TCP, way);
  pbuf_free(p);
}

// --- the options of a SYN

uint8_t option_byte(const oblako_tcp_segment& s, unsigned at) {
  return at < s.options_first ? reinterpret_cast<const uint8_t*>(s.header + 1)[at]
                              : s.options_rest[at - s.options_first];
}

syn_options options_of(const oblako_tcp_segment& s) {
  syn_options found;
  for (unsigned at = 0; at < s.options_length;) {
    const uint8_t kind = option_byte(s, at);
    if (kind == LWIP_TCP_OPT_EOL)
      break;
    if (kind == LWIP_TCP_OPT_NOP) {
      ++at;
      continue;
    }
    const unsigned length = at + 1 < s.options_length ? option_byte(s, at + 1) : 0;
    if (length < 2 || at + length > s.options_length)
      break;
    if (kind == LWIP_TCP_OPT_MSS && length == LWIP_TCP_OPT_LEN_MSS) {
      const unsigned mss = option_byte(s, at + 2) << 8 | option_byte(s, at + 3);
      found.mss = static_cast<uint16_t>(mss == 0 ? TCP_MSS : max_of(mss, 64u));
    } else if (kind == LWIP_TCP_OPT_WS && length == LWIP_TCP_OPT_LEN_WS) {
      found.scale = min_of<uint8_t>(option_byte(s, at + 2), 14);
    } else if (kind == LWIP_TCP_OPT_SACK_PERM && length == LWIP_TCP_OPT_LEN_SACK_PERM) {
      found.sack = true;
    }
    at += length;
  }
  found.mss = min_of<uint16_t>(found.mss, TCP_MSS);
  return found;
}

// --- answering

void answer_syn(const flow& f, uint32_t our_isn, uint32_t peer_isn, const syn_options& o,
                uint8_t time_to_live, uint8_t type_of_service) {
  answer a{.sequence = our_isn,
           .acknowledged = peer_isn + 1,
           .flags = TCP_SYN | TCP_ACK,
           .window = TCPWND_MIN16(TCP_WND),
           .time_to_live = time_to_live,
           .type_of_service = type_of_service};
  const ip_addr_t remote = address_of(f.remote, f), local = address_of(f.local, f);
  if (const netif* n = ip_route(&local, &remote))
    a.options[a.option_words++] = lwip_htonl(0x02040000u | oblako_tcp_announced_mss(n, &remote));
  if (o.scale != syn_options::not_scaled)
    a.options[a.option_words++] = PP_HTONL(0x01030300u | TCP_RCV_SCALE);
  if (o.sack)
    a.options[a.option_words++] = PP_HTONL(0x01010402u);
  send(f, a);
}

void answer_again(half_open& h) {
  answer_syn(h.key, h.our_isn, h.peer_isn, h.options, h.time_to_live, h.type_of_service);
}

void refuse(const tcp_pcb_listen& l, const oblako_tcp_segment& s) {
  tcp_rst(reinterpret_cast<const tcp_pcb*>(&l), s.acknowledged, s.sequence + s.length,
          ip_current_dest_addr(), ip_current_src_addr(), s.header->dest, s.header->src);
}

// How many records a listener may have: as many as its backlog, as on Linux, but not too few for a
// burst at a narrow one.
unsigned most_records(const tcp_pcb_listen& l) {
  return max_of<unsigned>(l.backlog, 64);
}

// True if the SYN comes from a socket of this machine, which waits in line itself.
bool sender_waits(tcp_pcb_listen& l, const oblako_tcp_segment& s) {
  const tcp_pcb* c =
      oblako_tcp_find(ip_current_src_addr(), s.header->src, ip_current_dest_addr(), s.header->dest);
  if (!c || c->state != SYN_SENT || !c->callback_arg)
    return false;
  auto& sender = *static_cast<tcp_socket*>(c->callback_arg);
  if (!is_waiting(sender))
    wait_in_line(l, sender);
  return true;
}

void syn_arrived(tcp_pcb_listen& l, const flow& f, const oblako_tcp_segment& s, uint32_t isn) {
  const uint64_t h = hash(f);
  if (half_open* known = half_open_connections.find(f, h)) {
    if (known->peer_isn == s.sequence)
      return answer_again(*known);
    half_open_connections.remove(*known, h); // the other side has begun anew
  }
  if (must_wait(l) && sender_waits(l, s))
    return;
  if (!may_connect())
    return; // it will ask again
  const syn_options o = options_of(s);
  if (half_open* n = half_open_connections.add(f, h, tcp_ticks, l.queues, most_records(l))) {
    n->peer_isn = s.sequence;
    n->our_isn = isn;
    n->options = o;
    n->time_to_live = l.ttl;
    n->type_of_service = l.tos;
    timers_changed = true;
    return answer_again(*n);
  }
  if (must_wait(l))
    return; // nothing would be left of it: it will ask again
  cookie_sent = tcp_ticks;
  answer_syn(f, make_cookie(cookie_key, f, s.sequence, o, tcp_ticks), s.sequence, o, l.ttl, l.tos);
}

// --- the third segment: a connection comes into being

struct handshake {
  uint32_t peer_isn, our_isn;
  syn_options options;
  uint32_t round_trip = 0; // 0: not measured
};

// nullptr: no memory.
tcp_pcb* make_connection(tcp_pcb_listen& l, const oblako_tcp_segment& s, const handshake& of) {
  tcp_pcb* c = tcp_alloc(l.prio);
  if (!c)
    return nullptr;
  ip_addr_copy(c->local_ip, *ip_current_dest_addr());
  ip_addr_copy(c->remote_ip, *ip_current_src_addr());
  c->local_port = l.local_port;
  c->remote_port = s.header->src;
  c->state = SYN_RCVD;
  c->rcv_nxt = of.peer_isn + 1;
  c->rcv_ann_right_edge = c->rcv_nxt + TCPWND_MIN16(TCP_WND);
  c->snd_wl1 = of.peer_isn; // before this segment, whose window counts
  c->snd_wl2 = c->lastack = of.our_isn;
  c->snd_nxt = c->snd_lbb = of.our_isn + 1;
  c->callback_arg = l.callback_arg;
  c->listener = &l;
  c->so_options = l.so_options & SOF_INHERITED;
  c->netif_idx = l.netif_idx;
  c->ttl = l.ttl;
  c->tos = l.tos;
  if (of.options.scale != syn_options::not_scaled) {
    tcp_set_flags(c, TF_WND_SCALE);
    c->snd_scale = of.options.scale;
    c->rcv_scale = TCP_RCV_SCALE;
    c->rcv_wnd = c->rcv_ann_wnd = TCP_WND;
  }
  if (of.options.sack)
    tcp_set_flags(c, TF_SACK);
  c->mss_offered = of.options.mss;
  c->mss = tcp_eff_send_mss(of.options.mss, &c->local_ip, &c->remote_ip);
  // For the first tcp_write(): what it makes of a large write stays as it is.
  c->large_segment = oblako_tcp_large_segment(ip_current_input_netif(), &c->remote_ip);
  if (of.round_trip != 0) {
    c->sa = static_cast<s32_t>(of.round_trip << 3);
    c->sv = static_cast<s32_t>(of.round_trip << 1);
    c->rto = TCP_RTO(c);
  }
  tcp_backlog_delayed(c); // closing the listener looks for those that are counted
  TCP_REG_ACTIVE(c);
  return c;
}

void wait(tcp_pcb_listen& l, half_open& h) {
  leave_queue(h.place);
  wait_in_line(l, h.place);
  half_open_connections.be_patient(h, tcp_ticks);
  timers_changed = true;
}

tcp_pcb* ack_arrived(tcp_pcb_listen& l, const flow& f, const oblako_tcp_segment& s) {
  const uint64_t h = hash(f);
  handshake of;
  half_open* known = half_open_connections.find(f, h);
  if (known) {
    of = {known->peer_isn, known->our_isn, known->options};
    if (known->resent == 0)
      of.round_trip = max_of(tcp_ticks - known->answered, 1u);
    if (s.acknowledged != of.our_isn + 1) {
      refuse(l, s);
      return nullptr;
    }
    // Only from within the window that was offered (RFC 9293, 3.10.7.4).
    if (s.sequence - (of.peer_isn + 1) >= TCPWND_MIN16(TCP_WND)) {
      answer_again(*known);
      return nullptr;
    }
  } else {
    of.peer_isn = s.sequence - 1;
    of.our_isn = s.acknowledged - 1;
    if (cookie_sent == 0 || tcp_ticks - cookie_sent > 2 * cookie_period_ms ||
        !open_cookie(cookie_key, f, of.peer_isn, of.our_isn, tcp_ticks, of.options)) {
      refuse(l, s);
      return nullptr;
    }
  }
  tcp_pcb* c = must_wait(l) || !may_connect() ? nullptr : make_connection(l, s, of);
  if (!known)
    return c; // or it is as if the segment had been lost
  if (c) {
    half_open_connections.remove(*known, h);
  } else if (!is_waiting(known->place)) {
    known->window = s.header->wnd;
    wait(l, *known);
  }
  return c;
}

void reset_arrived(const flow& f, const oblako_tcp_segment& s) {
  const uint64_t h = hash(f);
  half_open* known = half_open_connections.find(f, h);
  if (known && s.sequence == known->peer_isn + 1)
    half_open_connections.remove(*known, h);
}

// What lwIP makes of the confirmation that `h` waits with. False: it could not be told.
bool repeat_confirmation(const half_open& h, const ip_addr_t& local, const ip_addr_t& remote) {
  const flow& f = h.key;
  netif* n = ip_route(&local, &remote);
  pbuf* p = n ? pbuf_alloc(PBUF_IP, TCP_HLEN, PBUF_RAM) : nullptr;
  if (!p)
    return false;
  auto* t = static_cast<tcp_hdr*>(p->payload);
  t->src = lwip_htons(f.remote_port);
  t->dest = lwip_htons(f.local_port);
  t->seqno = lwip_htonl(h.peer_isn + 1);
  t->ackno = lwip_htonl(h.our_isn + 1);
  TCPH_HDRLEN_FLAGS_SET(t, TCP_HLEN / 4, TCP_ACK);
  t->wnd = lwip_htons(h.window);
  t->chksum = 0;
  t->urgp = 0;
  t->chksum = ip_chksum_pseudo(p, IP_PROTO_TCP, p->tot_len, &remote, &local);
  ip6_hdr header6 = {}; // that there is one says which IP it is
  ip_data.current_netif = ip_data.current_input_netif = n;
  ip_data.current_ip6_header = f.version == 6 ? &header6 : nullptr;
  ip_data.current_ip_header_tot_len = 0;
  ip_addr_copy(ip_data.current_iphdr_src, remote);
  ip_addr_copy(ip_data.current_iphdr_dest, local);
  tcp_input(p, n);
  ip_data.current_netif = ip_data.current_input_netif = nullptr;
  ip_data.current_ip6_header = nullptr;
  return true;
}

uint32_t fresh_isn(const oblako_tcp_segment& s) {
  return oblako_tcp_isn(ip_current_dest_addr(), s.header->dest, ip_current_src_addr(),
                        s.header->src);
}

// --- TIME_WAIT

uint32_t isn_after_time_wait; // for the SYN being looked at; 0: any

// RFC 1122, 4.2.2.13: a SYN beyond what the old connection has seen opens a new one at once.
bool reopens(const time_wait_record& r, const oblako_tcp_segment& s) {
  return (s.flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN &&
         TCP_SEQ_GT(s.sequence, r.receive_next);
}

void segment_in_time_wait(time_wait_record& r, const oblako_tcp_segment& s) {
  if (s.flags & TCP_RST) {
    // Only the exact number counts (RFC 5961, 3.2). It is also how a SYN that does not lie beyond
    // the old connection gets through: our acknowledgement below makes its sender reset this one
    // and try again, so that nobody waits a minute for it (RFC 1337 is weighed as Linux does).
    if (s.sequence == r.receive_next)
      ended.remove(r, hash(r.key));
    return;
  }
  if (s.flags & TCP_FIN)
    ended.restart(r, tcp_ticks);
  if (s.length != 0 || s.sequence != r.receive_next)
    send(r.key, {.sequence = r.send_next,
                 .acknowledged = r.receive_next,
                 .flags = TCP_ACK,
                 .window = r.window});
}

} // namespace

void start_handshakes() {
  const uint64_t memory = mem::frame_usage().total_bytes;
  half_open_connections.start(tcp_ticks, static_cast<unsigned>(min_of<uint64_t>(
                                             max_of<uint64_t>(memory / 128_KiB, 128), 16'384)));
  ended.set_limit(
      static_cast<unsigned>(min_of<uint64_t>(max_of<uint64_t>(memory / 16_KiB, 128), 65'536)));
  for (siphash_key* k : {&table_key, &cookie_key})
    *k = {uint64_t{random_word()} << 32 | random_word(),
          uint64_t{random_word()} << 32 | random_word()};
}

bool run_handshakes() {
  ended.expire(tcp_ticks, hash);
  const bool let_in = let_in_waiting();
  return half_open_connections.run(tcp_ticks, answer_again, hash) || let_in;
}

uint64_t next_handshake() {
  uint64_t due = time::no_deadline;
  uint32_t when;
  if (half_open_connections.next(when))
    due = time_of_tick(when);
  if (const auto* r = ended.oldest())
    due = min_of(due, time_of_tick(r->ends));
  return due;
}

void confirm_again(half_open& h) {
  const flow f = h.key;
  const ip_addr_t local = address_of(f.local, f), remote = address_of(f.remote, f);
  tcp_pcb_listen* l = find_listener(local, f.local_port, remote, f.remote_port);
  const bool told = repeat_confirmation(h, local, remote);
  if (!l)
    half_open_connections.remove(h, hash(f)); // lwIP has answered with a reset
  else if (!told)
    wait(*l, h);
}

void forget_half_open(const ip_addr_t& local, uint16_t local_port, const ip_addr_t& remote,
                      uint16_t remote_port, uint32_t our_isn) {
  const flow f = flow_of(local, local_port, remote, remote_port);
  const uint64_t h = hash(f);
  half_open* known = half_open_connections.find(f, h);
  if (known && known->our_isn == our_isn && !is_waiting(known->place))
    half_open_connections.remove(*known, h);
}

void change_listener(half_open& h) {
  const flow f = h.key;
  leave_queue(h.place);
  if (tcp_pcb_listen* l = find_listener(address_of(f.local, f), f.local_port,
                                        address_of(f.remote, f), f.remote_port))
    enter_queue(l->queues, backlog_half_open, h.place);
  else
    half_open_connections.remove(h, hash(f));
}

void for_each_time_wait(void (*visit)(const blockless_connection& c, void* context),
                        void* context) {
  for (const time_wait_record* r = ended.oldest(); r; r = r->younger)
    visit({address_of(r->key.local, r->key), address_of(r->key.remote, r->key), r->key.local_port,
           r->key.remote_port},
          context);
}

unsigned time_wait_count() {
  return ended.count();
}
unsigned half_open_count() {
  return half_open_connections.count();
}

} // namespace oblako::net

using namespace oblako::net;

extern "C" {

tcp_pcb* oblako_tcp_listen_input(tcp_pcb_listen* l, const oblako_tcp_segment* s) {
  const uint32_t isn = isn_after_time_wait;
  isn_after_time_wait = 0;
  const flow f = flow_of_packet(*s);
  if (s->flags & TCP_RST) {
    reset_arrived(f, *s);
    return nullptr;
  }
  if (s->flags & TCP_ACK) {
    if (!(s->flags & TCP_SYN))
      return ack_arrived(*l, f, *s);
    refuse(*l, *s);
  } else if (s->flags & TCP_SYN) {
    syn_arrived(*l, f, *s, isn ? isn : fresh_isn(*s));
  }
  return nullptr;
}

u8_t oblako_tcp_time_wait_input(const oblako_tcp_segment* s) {
  isn_after_time_wait = 0;
  if (ended.count() == 0)
    return 0;
  const flow f = flow_of_packet(*s);
  const uint64_t h = hash(f);
  time_wait_record* r = ended.find(f, h);
  if (!r)
    return 0;
  if (reopens(*r, *s)) {
    isn_after_time_wait = r->send_next + beyond_the_old;
    if (isn_after_time_wait == 0)
      isn_after_time_wait = 1;
    ended.remove(*r, h);
    return 0;
  }
  segment_in_time_wait(*r, *s);
  return 1;
}

void oblako_tcp_time_wait(tcp_pcb* c) {
  const flow f = flow_of(c->local_ip, c->local_port, c->remote_ip, c->remote_port);
  if (time_wait_record* r = ended.add(f, hash, tcp_ticks)) {
    r->receive_next = c->rcv_nxt;
    r->send_next = c->snd_nxt;
    r->window = TCPWND_MIN16(RCV_WND_SCALE(c, c->rcv_ann_wnd));
    timers_changed = true;
  }
  if (c->errf)
    c->errf(c->callback_arg, ERR_CLSD);
  tcp_pcb_remove(&tcp_tw_pcbs, c);
  tcp_free(c);
}

// An own connection to an address and port that are in TIME_WAIT here: it may begin if its numbers
// lie beyond the old one's.
u32_t oblako_tcp_isn_to(const ip_addr_t* local_ip, u16_t local_port, const ip_addr_t* remote_ip,
                        u16_t remote_port) {
  const flow f = flow_of(*local_ip, local_port, *remote_ip, remote_port);
  const uint64_t h = hash(f);
  if (time_wait_record* r = ended.find(f, h)) {
    const uint32_t isn = r->send_next + beyond_the_old;
    ended.remove(*r, h);
    return isn;
  }
  return oblako_tcp_isn(local_ip, local_port, remote_ip, remote_port);
}

} // extern "C"
