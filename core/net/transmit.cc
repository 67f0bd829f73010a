// Frames on their way to a device, and what becomes of those that find its ring full: whole ones
// wait in line (waiting_frames.hh), others too unless they carry TCP's data: TCP is told and tries
// again.
#include "core/net/capture.hh"
#include "core/net/datagram_line.hh"
#include "core/net/interface_internal.hh"
#include "lwip/prot/ethernet.h"
#include "lwip/prot/ip.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/ip6.h"
#include "lwip/prot/tcp.h"

namespace oblako::net {
namespace {

// While frames wait, each so many-th that joins them looks whether there is room by now. (The
// network's thread looks too, when it is woken.)
constexpr uint32_t look_for_room = 16;

void sent(void* cookie) {
  auto* p = static_cast<pbuf*>(cookie);
  if (p->ref > 1)
    --p->ref;
  else
    pbuf_free(p);
}

// The device's answer to a frame it was given.
inline err_t note_transmitted(interface& i, pbuf* p, result<void> outcome) {
  if (outcome.ok()) [[likely]] {
    ++i.counted.sent;
    i.counted.sent_bytes += p->tot_len;
    note_queued(i);
    return ERR_OK;
  }
  pbuf_free(p);
  i.ring_was_full = outcome.code() == error::again;
  return i.ring_was_full ? ERR_MEM : ERR_IF; // TCP keeps the segment and tries again
}

[[gnu::noinline, gnu::cold]] err_t wait_for_room(interface& i, pbuf* p,
                                                 const transmit_offload& offload) {
  // Who was refused has its turn when the line is empty (reclaim_frames()). So only so much may
  // join the line in the meantime, or small frames would keep it filled for ever.
  const bool overtakes = i.ring_was_full;
  if ((overtakes && i.overtaken_by >= i.waiting.limit()) ||
      !i.waiting.add({static_cast<uint8_t*>(p->payload), p, p->len, offload}))
    return note_transmitted(i, p, error::again);
  if (overtakes)
    i.overtaken_by += p->len;
  if (i.waiting.count() % look_for_room == 0)
    send_waiting(i);
  return ERR_OK;
}

enum class kind : uint8_t { others, tcp_with_data, tcp_without_data };

// The headers of what TCP sends lie in the frame's first piece.
kind kind_of(const pbuf& p) {
  const auto* frame = static_cast<const uint8_t*>(p.payload);
  if (p.len < SIZEOF_ETH_HDR + IP_HLEN + TCP_HLEN)
    return kind::others;
  const unsigned type = static_cast<unsigned>(frame[12] << 8 | frame[13]);
  const uint8_t* ip = frame + SIZEOF_ETH_HDR;
  size_t headers = SIZEOF_ETH_HDR;
  if (type == ETHTYPE_IP && ip[9] == IP_PROTO_TCP)
    headers += 4u * (ip[0] & 0xfu);
  else if (type == ETHTYPE_IPV6 && ip[6] == IP_PROTO_TCP)
    headers += IP6_HLEN;
  else
    return kind::others;
  constexpr size_t data_offset = 12; // in TCP's header, RFC 9293 section 3.1
  if (p.len > headers + data_offset)
    headers += 4u * (frame[headers + data_offset] >> 4u);
  return p.tot_len > headers ? kind::tcp_with_data : kind::tcp_without_data;
}

// What is in nobody's queue: a datagram, a fragment, a segment without data (the answer to a SYN, a
// reset, an acknowledgement: lost, it costs a new client a second).
[[gnu::noinline, gnu::cold]] err_t join_line(interface& i, const pbuf& p,
                                             const transmit_offload& offload, kind of) {
  // Answers to a flood must not keep the line filled for ever (wait_for_room()).
  if (of == kind::tcp_without_data && i.ring_was_full && i.overtaken_by >= i.waiting.limit())
    return ERR_MEM;
  pbuf* copy = copy_for_line(p);
  if (!copy)
    return ERR_MEM;
  if (!i.waiting.add({static_cast<uint8_t*>(copy->payload), copy, copy->len, offload},
                     room_for_begun)) {
    note_left_line(*copy);
    pbuf_free(copy);
    return ERR_MEM;
  }
  if (i.ring_was_full)
    i.overtaken_by += copy->len;
  if (i.waiting.count() % look_for_room == 0)
    send_waiting(i);
  return ERR_OK;
}

} // namespace

err_t transmit_frame(interface& i, pbuf* p, const transmit_offload& offload) {
  if (capture_on) [[unlikely]]
    capture_sent(p);
  constexpr unsigned max_parts = 20;
  segment parts[max_parts];
  size_t count = 0;
  for (pbuf* q = p; q; q = q->next) {
    if (q->len == 0)
      continue;
    if (count == max_parts)
      return ERR_BUF;
    parts[count++] = {q->payload, q->len};
  }
  ++p->ref; // until the device is done with it
  if (!i.waiting.empty()) [[unlikely]]
    send_waiting(i);
  result<void> outcome = error::again;
  if (i.waiting.empty()) [[likely]] {
    outcome = i.dev->transmit(parts, count, offload, sent, p);
    if (!outcome.ok() && outcome.code() == error::again) {
      i.dev->reclaim_transmitted();
      outcome = i.dev->transmit(parts, count, offload, sent, p);
    }
  }
  if (outcome.code() == error::again) [[unlikely]] {
    if (const kind of = kind_of(*p); of != kind::tcp_with_data) {
      --p->ref; // the caller has it
      return join_line(i, *p, offload, of);
    }
  }
  return note_transmitted(i, p, outcome);
}

err_t transmit_whole_frame(interface& i, pbuf* p, const transmit_offload& offload) {
  if (capture_on) [[unlikely]]
    capture_sent(p);
  ++p->ref; // until the device is done with it
  if (!i.waiting.empty()) [[unlikely]]
    return wait_for_room(i, p, offload);
  auto* frame = static_cast<uint8_t*>(p->payload);
  const auto outcome = i.dev->transmit_whole(frame, p->len, offload, sent, p);
  if (!outcome.ok() && outcome.code() == error::again) [[unlikely]]
    return wait_for_room(i, p, offload);
  return note_transmitted(i, p, outcome);
}

void send_waiting(interface& i) {
  // Without room there is no need to try; a device that has failed refuses them all.
  if (i.dev->reclaim_transmitted() == 0 && !i.dev->broken())
    return;
  while (!i.waiting.empty()) {
    const waiting_frames::frame f = i.waiting.take();
    const auto outcome = i.dev->transmit_whole(f.data, f.length, f.offload, sent, f.packet);
    if (!outcome.ok() && outcome.code() == error::again)
      return i.waiting.put_back(f);
    note_left_line(*static_cast<pbuf*>(f.packet));
    note_transmitted(i, static_cast<pbuf*>(f.packet), outcome);
  }
}

} // namespace oblako::net
