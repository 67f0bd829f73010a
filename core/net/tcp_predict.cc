// Header prediction (Van Jacobson; Wright and Stevens, volume 2, 28.4): what nearly all segments of
// an established connection are goes straight from the frame to the socket, and from write() to the
// device. Neither lwIP's input nor its output sees them.
//
// What is predicted of a segment received
//   - TCP without options or fragments, to an address of this interface, for a connection
//     that is ESTABLISHED and whose socket is open; ACK and perhaps PSH, no other flag; a window
//     that is not shut;
//   - it is the next in sequence and fits the window; nothing waits to be put in order;
//   - it acknowledges nothing new, or all that was sent; nothing waits to be sent, and no loss is
//     being repaired. Without data it acknowledges something new, or it would be a duplicate.
// Of one to send: nothing else waits to be sent, Nagle and both windows let it go at once, and the
// way to the other side is known (fast_path.cc). Of an acknowledgement without data: the connection
// is ESTABLISHED, nothing waits to be sent, put in order or repaired, and the way is known.
//
// Everything else takes the long way, which finds the connection as if it had taken the long way
// always. So each step here has its place in lwIP's code and leaves the same in the control block:
// take_predicted() is tcp_process() and tcp_receive() for such a segment with tcp_output() behind,
// send_predicted() is tcp_output() with tcp_output_segment(), acknowledge_now() is tcp_output()
// with tcp_send_empty_ack(). Retransmission, round-trip times, delayed acknowledgements and all
// timers follow from there.
//
// Context: the stack's lock is held, and lwIP is not on the stack (tcp_input_pcb is null).
#include "core/net/tcp_predict.hh"

#include "core/net/capture.hh"
#include "core/net/congestion.hh"
#include "core/net/cubic.hh"
#include "core/net/fast_path.hh"
#include "core/net/pools.hh"
#include "core/net/tcp_deferred.hh"
#include "core/net/tcp_frames.hh"
#include "core/net/tcp_lookup.hh"
#include "core/net/tcp_socket.hh"
#include "core/net/tcp_timers.hh"
#include "hooks.h"

namespace oblako::net {

prediction_counts predicted;

namespace {

constexpr uint16_t checksum_field = offsetof(tcp_fields, checksum);

const tcp_fields& fields_of(const uint8_t* frame) {
  return *reinterpret_cast<const tcp_fields*>(frame + predicted_headers(frame) -
                                              sizeof(tcp_fields));
}
const tcp_frame& frame_at(const uint8_t* frame) {
  return *reinterpret_cast<const tcp_frame*>(frame);
}

// Ethernet's type, IP's version and header length; not the type of service.
constexpr uint32_t link_mask = 0x00ffffff, link_wanted = 0x00450008;
// No fragment; TCP. Not the time to live.
constexpr uint32_t ip_mask = 0xff00ff3f, ip_wanted = uint32_t{protocol_tcp} << 24;
bool is_ordinary(const interface& i, const uint8_t* frame, uint32_t length) {
  const tcp_frame& f = frame_at(frame);
  return length >= sizeof f && (load32(frame + 12) & link_mask) == link_wanted &&
         (load32(frame + 20) & ip_mask) == ip_wanted &&
         (f.t.length_and_flags & tcp_mask) == tcp_wanted && !(frame[0] & 1) &&
         f.h.to == ip4_addr_get_u32(netif_ip4_addr(&i.n)) && f.t.window != 0 &&
         __builtin_bswap16(f.h.length) == length - sizeof f.h.ethernet &&
         // The ones' complement sum of a right header is -0 (RFC 1071).
         sum_of_header(&f.h.version) % 0xffff == 0;
}

constexpr tcpflags_t unusual_received =
    TF_ACK_NOW | TF_INFR | TF_CLOSEPEND | TF_RXCLOSED | TF_FIN | TF_NAGLEMEMERR | TF_RTO;
constexpr tcpflags_t unusual_to_send = TF_INFR | TF_CLOSEPEND | TF_FIN | TF_NAGLEMEMERR | TF_RTO;

// Its timer fires before anything is due that begins now.
bool timed(const tcp_pcb& c) {
  return c.timer.link && static_cast<int32_t>(c.timer.due - tcp_ticks) <= OBLAKO_TCP_NEAR;
}

void free_sent(tcp_seg* s) {
  free_packet(s->p);
  release_segment(s);
}

// All that was sent has arrived.
void acknowledged_all(tcp_pcb& c, uint32_t ack) {
  const tcpwnd_size_t acked = ack - c.lastack;
  c.nrtx = 0;
  c.lastack = ack;
  if (c.cwnd > 2 * uint64_t{acked}) [[likely]]
    cubic_pause(c.cubic); // grow_window() would do no more
  else
    grow_window(c, c.cwnd, acked, acked);
  for (tcp_seg* s = c.unacked; s;) {
    tcp_seg* next = s->next;
    c.snd_buf += s->len;
    free_sent(s);
    s = next;
  }
  c.unacked = nullptr;
  c.snd_queuelen = 0;
  c.rtime = -1;
  c.unsent_oversize = 0;
  if (c.rttest && TCP_SEQ_LT(c.rtseq, ack)) {
    int32_t m = max_of(static_cast<int32_t>(tcp_ticks - c.rttest), 1);
    if (c.sa == 0) {
      c.sa = m << 3;
      c.sv = m << 1;
    } else {
      m -= c.sa >> 3;
      c.sa += m;
      m = (m < 0 ? -m : m) - (c.sv >> 2);
      c.sv += m;
    }
    c.rttest = 0;
  }
  c.rto = TCP_RTO(&c);
}

// tcp_update_rcv_ann_wnd(): the window to announce does not shrink, and grows by no less than a
// segment. Returns by how much its edge has moved.
inline uint32_t update_announced(tcp_pcb& c) {
  const uint32_t edge = c.rcv_nxt + c.rcv_wnd;
  if (TCP_SEQ_GEQ(edge, c.rcv_ann_right_edge + LWIP_MIN(TCP_WND / 2, c.mss))) {
    c.rcv_ann_wnd = c.rcv_wnd;
    return edge - c.rcv_ann_right_edge;
  }
  c.rcv_ann_wnd =
      TCP_SEQ_GT(c.rcv_nxt, c.rcv_ann_right_edge) ? 0 : c.rcv_ann_right_edge - c.rcv_nxt;
  return 0;
}

// The right edge of the window stays where it is: what is announced shrinks.
void take_data(tcp_pcb& c, uint32_t bytes) {
  c.rcv_nxt += bytes;
  c.rcv_wnd -= bytes;
  update_announced(c);
  if (bytes < c.mss && !(c.flags & TF_ACK_DELAY)) [[likely]]
    c.flags |= TF_ACK_DELAY; // acknowledge_data() would do no more
  else
    acknowledge_data(c, bytes);
}

} // namespace

namespace {

// The connection, if the segment with `bytes` of data is what it expects.
inline tcp_pcb* if_expected(tcp_pcb* c, const tcp_fields& t, uint32_t bytes) {
  if (!c || c->state != ESTABLISHED || (c->flags & unusual_received) || !c->callback_arg ||
      c->unsent || c->ooseq || c->refused_data)
    return nullptr;
  const uint32_t ack = __builtin_bswap32(t.acknowledged);
  const bool expected = __builtin_bswap32(t.sequence) == c->rcv_nxt && bytes <= c->rcv_wnd &&
                        (ack == c->snd_nxt || ack == c->lastack) &&
                        (bytes != 0 || ack != c->lastack);
  return expected ? c : nullptr;
}

[[gnu::noinline]] tcp_pcb* predict6(const interface& i, const uint8_t* frame, uint32_t length) {
  return if_expected(find_ordinary6(i, frame, length), fields_of(frame),
                     length - static_cast<uint32_t>(sizeof(tcp_frame6)));
}

} // namespace

tcp_pcb* predict(const interface& i, const uint8_t* frame, uint32_t length) {
  if (!is_ordinary(i, frame, length)) [[unlikely]]
    return predict6(i, frame, length);
  const tcp_frame& f = frame_at(frame);
  return if_expected(find_connection(f.h.to, f.h.from, __builtin_bswap32(load32(frame + 34))), f.t,
                     length - static_cast<uint32_t>(sizeof f));
}

void take_predicted(tcp_pcb& c, const uint8_t* frame, pbuf* data) {
  const tcp_fields& f = fields_of(frame);
  const uint32_t seq = c.rcv_nxt, ack = __builtin_bswap32(f.acknowledged);
  const tcpwnd_size_t window = SND_WND_SCALE(&c, __builtin_bswap16(f.window));
  c.tmr = tcp_ticks;
  c.keep_cnt_sent = 0;
  c.persist_probe = 0;
  c.dupacks = 0;
  if (TCP_SEQ_LT(c.snd_wl1, seq) || (c.snd_wl1 == seq && TCP_SEQ_LT(c.snd_wl2, ack)) ||
      (c.snd_wl2 == ack && window > c.snd_wnd)) {
    c.snd_wnd = window;
    if (c.snd_wnd_max < window)
      c.snd_wnd_max = window;
    c.snd_wl1 = seq;
    c.snd_wl2 = ack;
  }
  auto& s = *static_cast<tcp_socket*>(c.callback_arg);
  if (ack != c.lastack) {
    acknowledged_all(c, ack);
    s.sent_arrived(c);
  }
  if (data) {
    ++predicted.data;
    take_data(c, data->tot_len);
    s.data_arrived(data);
  } else {
    ++predicted.acknowledgements;
  }
  if (c.flags & TF_ACK_NOW) [[unlikely]]
    acknowledge_now(c);
  else if ((c.flags & TF_ACK_DELAY) && !timed(c)) [[unlikely]]
    time_acknowledgement(c);
}

void take_back(tcp_pcb& c, uint32_t bytes) {
  const tcpwnd_size_t room = c.rcv_wnd + bytes;
  c.rcv_wnd = room > TCP_WND_MAX(&c) || room < c.rcv_wnd ? TCP_WND_MAX(&c) : room;
  const uint32_t moved = update_announced(c);
  if (moved != 0 && moved >= TCP_WND_MAX(&c) / 4) [[unlikely]]
    acknowledge_now(c);
}

// ------------------------------------------------------------- sending

namespace {

// The Ethernet header of frames to the other side, if one was sent there a moment ago.
const uint8_t* way_of(const tcp_pcb& c) {
  if (!last_learnt || !last_learnt->checksums_sent)
    return nullptr;
  if (!IP_IS_V4_VAL(c.remote_ip)) [[unlikely]]
    return way_of6(c);
  const uint32_t to = ip4_addr_get_u32(ip_2_ip4(&c.remote_ip));
  const neighbour& way = slot_of(*last_learnt, to);
  const bool known =
      way.ip == to && tcp_ticks - way.learnt < neighbour_lifetime &&
      ip4_addr_get_u32(ip_2_ip4(&c.local_ip)) == ip4_addr_get_u32(netif_ip4_addr(&last_learnt->n));
  return known ? way.header : nullptr;
}

// The device adds the payload's sum and the header's to that of the pseudo-header.
void fill_in4(tcp_frame& f, const tcp_pcb& c, const uint8_t* ethernet, uint32_t bytes,
              uint8_t flags) {
  const auto segment_length = static_cast<uint16_t>(sizeof(tcp_hdr) + bytes);
  const uint32_t from = ip4_addr_get_u32(ip_2_ip4(&c.local_ip));
  const uint32_t to = ip4_addr_get_u32(ip_2_ip4(&c.remote_ip));
  const uint64_t addresses = uint64_t{from} + to;
  __builtin_memcpy(f.h.ethernet, ethernet, sizeof f.h.ethernet);
  const auto version_and_service = static_cast<uint16_t>(c.tos << 8 | 0x45);
  const auto life_and_protocol = static_cast<uint16_t>(protocol_tcp << 8 | c.ttl);
  __builtin_memcpy(&f.h.version, &version_and_service, 2);
  __builtin_memcpy(&f.h.time_to_live, &life_and_protocol, 2);
  f.h.length = __builtin_bswap16(static_cast<uint16_t>(segment_length + ip_header));
  f.h.id = 0; // nobody cuts it (RFC 6864, 4.1)
  f.h.fragment = not_to_be_cut;
  f.h.from = from;
  f.h.to = to;
  f.h.checksum = static_cast<uint16_t>(
      ~fold(addresses + version_and_service + f.h.length + not_to_be_cut + life_and_protocol));
  fill_in(f.t, c, flags);
  f.t.checksum =
      fold(addresses + (uint32_t{protocol_tcp} << 8) + __builtin_bswap16(segment_length));
}

uint32_t headers_of(const tcp_pcb& c) {
  return IP_IS_V4_VAL(c.remote_ip) ? sizeof(tcp_frame) : sizeof(tcp_frame6);
}

// A packet's headers; `bytes` follow them.
void fill_in(pbuf* p, const tcp_pcb& c, const uint8_t* ethernet, uint32_t bytes, uint8_t flags) {
  if (IP_IS_V4_VAL(c.remote_ip)) [[likely]]
    fill_in4(*static_cast<tcp_frame*>(p->payload), c, ethernet, bytes, flags);
  else
    fill_in6(*static_cast<tcp_frame6*>(p->payload), c, ethernet, bytes, flags);
}

transmit_offload checksum_offload(uint32_t headers) {
  transmit_offload offload;
  offload.needs_checksum = true;
  offload.checksum_start = static_cast<uint16_t>(headers - sizeof(tcp_fields));
  offload.checksum_offset = checksum_field;
  return offload;
}

void append(tcp_seg** list, tcp_seg* s) {
  while (*list)
    list = &(*list)->next;
  *list = s;
}

// What tcp_output_segment() and tcp_output() note of a segment, sent or not.
void note_sent(tcp_pcb& c, tcp_seg* s, bool sent) {
  if (c.rtime < 0)
    c.rtime = TCP_RTIME_NOW();
  if (c.rttest == 0) {
    c.rttest = tcp_ticks;
    c.rtseq = c.snd_lbb;
  }
  c.rcv_ann_right_edge = c.rcv_nxt + c.rcv_ann_wnd;
  c.persist_backoff = 0;
  c.unsent_oversize = 0;
  c.snd_lbb += s->len;
  c.snd_buf -= s->len;
  ++c.snd_queuelen;
  if (!sent) [[unlikely]] { // it will be tried again
    c.flags |= TF_NAGLEMEMERR;
    c.unsent = s;
    LWIP_HOOK_TCP_TOUCHED(&c);
    return;
  }
  ++predicted.sent;
  c.flags &= static_cast<tcpflags_t>(~(TF_ACK_DELAY | TF_ACK_NOW));
  c.snd_nxt = c.snd_lbb;
  append(&c.unacked, s);
  if (c.snd_nxt - c.lastack > c.mss)
    oblako_tcp_arm(&c); // for the probe for a lost tail, too
  else if (!timed(c)) [[unlikely]]
    time_retransmission(c);
}

} // namespace

bool send_acknowledgement(tcp_pcb& c) {
  if (c.state != ESTABLISHED || (c.flags & unusual_to_send) || c.unsent || c.ooseq)
    return false;
  const uint8_t* way = way_of(c);
  if (!way)
    return false;
  const uint32_t headers = headers_of(c);
  pbuf* p = take_buffer(device::frame_room, headers);
  if (!p) [[unlikely]]
    return false;
  fill_in(p, c, way, 0, TCP_ACK);
  const bool sent = transmit_whole_frame(*last_learnt, p, checksum_offload(headers)) == ERR_OK;
  free_packet(p);
  if (!sent) [[unlikely]]
    return false;
  c.rcv_ann_right_edge = c.rcv_nxt + c.rcv_ann_wnd;
  c.flags &= static_cast<tcpflags_t>(~(TF_ACK_DELAY | TF_ACK_NOW));
  return true;
}

void acknowledge_now(tcp_pcb& c) {
  if (send_acknowledgement(c)) [[likely]]
    return;
  c.flags |= TF_ACK_NOW;
  tcp_output(&c);
}

result<size_t> send_predicted(tcp_pcb& c, mem::io_buffers& from, size_t bytes) {
  const uint32_t room = LWIP_MIN(c.snd_wnd, c.cwnd);
  if ((c.flags & unusual_to_send) || (c.unacked && !(c.flags & TF_NODELAY)) ||
      c.snd_lbb - c.lastack + bytes > room)
    return error::again;
  const uint8_t* way = way_of(c);
  if (!way)
    return error::again;
  interface& i = *last_learnt;
  const uint32_t headers = headers_of(c);
  pbuf* p = take_buffer(device::frame_room, headers + bytes);
  tcp_seg* s = take_segment();
  if (!p || !s) [[unlikely]] {
    if (p)
      release_packet_memory(p);
    if (s)
      release_segment(s);
    return error::nobufs;
  }
  uint8_t* data = static_cast<uint8_t*>(p->payload) + headers;
  auto got = from.get(data, bytes);
  if (!got.ok()) [[unlikely]] {
    release_packet_memory(p);
    release_segment(s);
    return got;
  }
  const auto length = static_cast<uint16_t>(*got);
  p->len = p->tot_len = static_cast<uint16_t>(headers + length);
  fill_in(p, c, way, length, TCP_ACK | TCP_PSH);
  s->next = nullptr;
  s->p = p;
  s->len = length;
  s->flags = 0;
  s->tcphdr = reinterpret_cast<tcp_hdr*>(data - sizeof(tcp_fields));
  note_sent(c, s, transmit_whole_frame(i, p, checksum_offload(headers)) == ERR_OK);
  return got;
}

} // namespace oblako::net
