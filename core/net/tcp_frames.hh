// Private to core/net: the frames of header prediction, and what differs in them between IPv4
// (tcp_predict.cc) and IPv6 (tcp_predict6.cc).
#pragma once

#include "core/net/fast_path.hh"
#include <stddef.h>
#include <stdint.h>

namespace oblako::net {

// A TCP header without options, as it lies in a packet.
struct [[gnu::packed]] tcp_fields {
  uint16_t source, destination;
  uint32_t sequence, acknowledged;
  uint16_t length_and_flags;
  uint16_t window, checksum, urgent;
};
static_assert(sizeof(tcp_fields) == 20);

struct [[gnu::packed]] tcp_frame {
  frame_headers h;
  tcp_fields t;
};
static_assert(sizeof(tcp_frame) == 54);

struct [[gnu::packed]] tcp_frame6 {
  uint8_t ethernet[14];
  uint32_t version_class_label;
  uint16_t length; // of what follows the IP header
  uint8_t next, hop_limit;
  uint32_t from[4], to[4];
  tcp_fields t;
};
static_assert(sizeof(tcp_frame6) == 74);

// A header of 20 bytes; ACK. Not PSH.
constexpr uint16_t tcp_mask = 0xf7ff, tcp_wanted = TCP_ACK << 8 | 0x50;

inline uint32_t load32(const uint8_t* at) {
  uint32_t word;
  __builtin_memcpy(&word, at, sizeof word);
  return word;
}

// The header of the connection's next segment, all but its checksum.
inline void fill_in(tcp_fields& t, const tcp_pcb& c, uint8_t flags) {
  t.source = __builtin_bswap16(c.local_port);
  t.destination = __builtin_bswap16(c.remote_port);
  t.sequence = __builtin_bswap32(c.snd_lbb);
  t.acknowledged = __builtin_bswap32(c.rcv_nxt);
  t.length_and_flags = static_cast<uint16_t>(flags << 8 | 0x50);
  t.window = __builtin_bswap16(TCPWND_MIN16(RCV_WND_SCALE(&c, c.rcv_ann_wnd)));
  t.urgent = 0;
}

// --- tcp_predict6.cc

// The connection that a frame belongs to, if it is an ordinary one of TCP over IPv6, between
// addresses that are not link-local.
tcp_pcb* find_ordinary6(const interface& i, const uint8_t* frame, uint32_t length);
// The Ethernet header of frames to the other side; nullptr: the way is not known.
const uint8_t* way_of6(const tcp_pcb& c);
void fill_in6(tcp_frame6& f, const tcp_pcb& c, const uint8_t* ethernet, uint32_t bytes,
              uint8_t flags);

} // namespace oblako::net
