// One network interface, as interface.cc and the fast path see it.
#pragma once

#include "core/net/device.hh"
#include "core/net/interface.hh"
#include "core/net/waiting_frames.hh"
#include "lwip/netif.h"
#include <stdint.h>

namespace oblako::net {

// Where frames for an IPv4 address were last sent: the Ethernet header to put in front of the next.
struct neighbour {
  uint32_t ip;     // network byte order, 0: none
  uint32_t learnt; // TCP's tick counter
  uint8_t header[14];
};

struct neighbour6 {
  uint32_t ip[4];
  uint32_t learnt; // 0: nothing
  uint8_t header[14];
};

// What went through an interface (/proc/net/dev).
struct traffic {
  uint64_t received, received_bytes, dropped;
  uint64_t sent, sent_bytes;
};

struct datagram_sender;

struct interface {
  static constexpr unsigned neighbour_count = 16; // a power of two

  netif n; // first: lwIP's callbacks get a pointer to it
  device* dev;
  size_t lent;           // bytes of receive buffers that pbufs point into
  bool checksums_sent;   // by the device
  uint8_t gso_types;     // bit per kind of large segment the device cuts (device.hh)
  bool queued;           // frames or buffers since the last flush
  bool ring_was_full;    // and a sender was refused
  uint32_t overtaken_by; // bytes that have joined the line since then
  waiting_frames waiting;
  datagram_sender* refused_senders; // datagram_line.hh
  traffic counted;
  neighbour neighbours[neighbour_count];
  static constexpr unsigned neighbour6_count = 4;
  neighbour6 neighbours6[neighbour6_count];
};

inline interface& interface_of(netif* n) {
  return *reinterpret_cast<interface*>(n);
}
// True for interfaces of this kind (the loopback is lwIP's own).
bool is_ours(const netif* n);
// The device is to hear of something at the next flush.
inline void note_queued(interface& i) {
  i.queued = any_frames_queued = true;
}

// --- transmit.cc
// Queues a frame; the device holds a reference to the packet buffer until it has sent it. If the
// ring is full, TCP is refused and other frames wait in line, as copies.
// Errors: ERR_MEM (the ring or the line is full, or no memory), ERR_IF, ERR_BUF (too many pieces).
err_t transmit_frame(interface& i, pbuf* p, const transmit_offload& offload);
// The same for a frame in one piece with device::frame_room bytes in front of it, which may wait
// for room in the ring. Errors: ERR_MEM (too many wait), ERR_IF.
err_t transmit_whole_frame(interface& i, pbuf* p, const transmit_offload& offload);
// Gives the device what waits, as far as there is room.
void send_waiting(interface& i);

// --- martians.cc
// True for an IPv4 address (network byte order) that no packet from a device may come from. Not
// quite so for 0, which may be DHCP's.
bool is_martian_source(uint32_t from);

// --- fast_path.cc
// Remembers the way of a frame that went through all layers.
void learn_neighbour(interface& i, const void* frame, uint32_t contiguous);
// The same for IPv6 (tcp_predict6.cc).
void learn_neighbour6(interface& i, const void* frame, uint32_t contiguous);
// Takes an ordinary TCP packet over IPv4 whose transport checksum is known to be right. False: the
// packet needs lwIP's full attention, nothing has happened to it.
bool fast_input(interface& i, pbuf* p);

} // namespace oblako::net
