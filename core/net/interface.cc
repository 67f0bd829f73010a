#include "core/net/interface.hh"

#include "core/log/log.hh"
#include "core/mem/buffer_account.hh"
#include "core/mem/frames.hh"
#include "core/mem/heap.hh"
#include "core/net/addressing.hh"
#include "core/net/capture.hh"
#include "core/net/checksum.hh"
#include "core/net/datagram_line.hh"
#include "core/net/device.hh"
#include "core/net/interface_internal.hh"
#include "core/net/name_servers.hh"
#include "core/net/pools.hh"
#include "core/net/port.hh"
#include "core/net/service.hh"
#include "core/net/tcp_deferred.hh"
#include "core/net/tcp_predict.hh"
#include "core/net/tcp_socket.hh"
#include "hooks.h"
#include "lwip/etharp.h"
#include "lwip/ethip6.h"
#include "lwip/ip4.h"
#include "lwip/ip6.h"
#include "lwip/netif.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/prot/ethernet.h"

namespace oblako::net {

bool any_frames_queued;

namespace {

constexpr unsigned max_devices = 8;
constexpr unsigned receive_batch = 64;
// Frames up to this size are copied: the copy costs less than keeping a whole receive buffer.
constexpr uint32_t copy_limit = 192; // with a pbuf in front, 256 bytes in all
// A frame that fills less than this part of its buffers is copied too.
constexpr unsigned least_filled = 4;
// So many bytes of receive buffers may be lent at a time, or a thirty-second of memory; beyond that
// everything is copied, so that sockets nobody reads from cannot take all that a device has.
constexpr size_t least_lent = 512_KiB;
size_t max_lent;

device* devices[max_devices];
unsigned device_count;
interface* interfaces[max_devices];
unsigned interface_count;

// --- receiving

// One received frame on loan. Its pieces are the pbufs; the last one freed returns the frame. They
// lie in front of the data they are for (received_frame::room_in_front), the first with what is
// kept for the whole frame.
struct lent_frame;
struct lent_piece {
  pbuf_custom custom; // first: lwIP hands back a pointer to it
  lent_frame* owner;
};
struct lent_frame {
  lent_piece first;
  interface* from;
  void* cookie;
  uint32_t pieces_left;
  uint32_t held;
};
static_assert(sizeof(lent_frame) + 8 <= received_frame::room_in_front);

void* room_in_front(const void* data) {
  const uintptr_t start = reinterpret_cast<uintptr_t>(data) - received_frame::room_in_front;
  return reinterpret_cast<void*>((start + 7) & ~uintptr_t{7});
}

void free_piece(pbuf* p) {
  lent_frame* lent = reinterpret_cast<lent_piece*>(p)->owner;
  if (--lent->pieces_left != 0)
    return;
  interface& i = *lent->from;
  i.lent -= lent->held;
  mem::buffers.discharge(lent->held);
  received_frame f;
  f.cookie = lent->cookie;
  i.dev->release_frame(f); // and with it *lent
  note_queued(i);          // the device may want to know of the buffers
}

uint32_t frame_length(const received_frame& f) {
  uint32_t length = f.segments == 1 ? f.length : 0;
  for (unsigned i = 0; f.segments > 1 && i < f.segments; ++i)
    length += i == 0 ? f.length : f.more[i - 1].length;
  return length;
}

// Copies in steps of 32 bytes, beyond the end if need be: for few bytes faster than anything that
// has to look at the length first. Both sides have room for it.
void copy_short(uint8_t* to, const uint8_t* from, uint32_t bytes) {
  for (uint32_t at = 0; at < bytes; at += 32) {
    uint64_t words[4];
    __builtin_memcpy(words, from + at, sizeof words);
    __builtin_memcpy(to + at, words, sizeof words);
  }
}

// The frame without its Ethernet header, as one pbuf of its own. The frame itself is untouched.
pbuf* copy_frame(const received_frame& f, uint32_t payload) {
  // Room for the last step of a short copy; receive buffers have it anyway.
  const bool is_short = f.segments == 1 && payload <= copy_limit;
  pbuf* p = pbuf_alloc(PBUF_RAW, static_cast<u16_t>(is_short ? payload + 31 : payload), PBUF_RAM);
  if (!p)
    return nullptr;
  auto* to = static_cast<uint8_t*>(p->payload);
  if (is_short) {
    p->len = p->tot_len = static_cast<u16_t>(payload);
    copy_short(to, f.data + SIZEOF_ETH_HDR, payload);
    return p;
  }
  __builtin_memcpy(to, f.data + SIZEOF_ETH_HDR, f.length - SIZEOF_ETH_HDR);
  to += f.length - SIZEOF_ETH_HDR;
  for (unsigned i = 1; i < f.segments; ++i) {
    __builtin_memcpy(to, f.more[i - 1].data, f.more[i - 1].length);
    to += f.more[i - 1].length;
  }
  return p;
}

pbuf* lend_piece(lent_frame* owner, lent_piece& piece, const void* data, uint32_t length,
                 uint32_t& payload) {
  piece.owner = owner;
  piece.custom.custom_free_function = free_piece;
  pbuf* p = pbuf_alloced_custom(PBUF_RAW, static_cast<u16_t>(length), PBUF_REF, &piece.custom,
                                const_cast<void*>(data), static_cast<u16_t>(length));
  p->tot_len = static_cast<u16_t>(payload);
  payload -= length;
  return p;
}

// The frame without its Ethernet header, as pbufs that point into it.
pbuf* lend_frame(interface& i, const received_frame& f, uint32_t payload) {
  auto* lent = static_cast<lent_frame*>(room_in_front(f.data));
  lent->from = &i;
  lent->cookie = f.cookie;
  lent->pieces_left = f.segments;
  lent->held = f.held;
  i.lent += f.held;
  mem::buffers.charge(f.held);
  pbuf* last =
      lend_piece(lent, lent->first, f.data + SIZEOF_ETH_HDR, f.length - SIZEOF_ETH_HDR, payload);
  for (unsigned k = 1; k < f.segments; ++k) {
    const segment& s = f.more[k - 1];
    auto& piece = *static_cast<lent_piece*>(room_in_front(s.data));
    last->next = lend_piece(lent, piece, s.data, s.length, payload);
    last = last->next;
  }
  return &lent->first.custom.pbuf;
}

void hand_up(interface& i, pbuf* p, uint16_t type, checksum_state checksum) {
  // A fragment's transport checksum covers the whole datagram, which only lwIP will see.
  const bool verify = checksum == checksum_state::none || is_fragment(type, p->payload, p->len);
  u16_t flags = i.n.chksum_flags & ~(NETIF_CHECKSUM_CHECK_TCP | NETIF_CHECKSUM_CHECK_UDP);
  if (verify)
    flags |= NETIF_CHECKSUM_CHECK_TCP | NETIF_CHECKSUM_CHECK_UDP;
  i.n.chksum_flags = flags;
  p->if_idx = netif_get_index(&i.n);
  switch (type) {
  case ETHTYPE_IP:
    if (verify || !fast_input(i, p))
      ip4_input(p, &i.n);
    return;
  case ETHTYPE_IPV6:
    ip6_input(p, &i.n);
    return;
  case ETHTYPE_ARP:
    etharp_input(p, &i.n);
    return;
  default:
    pbuf_free(p);
  }
}

// True if the frame fills its buffers well enough to be kept, and not too many are. With memory
// short it has to fill half of them.
bool may_lend(const interface& i, const received_frame& f, uint32_t payload) {
  return payload > copy_limit && payload >= f.held / least_filled && i.lent + f.held <= max_lent &&
         (payload >= f.held / 2 || !mem::buffers.is_short());
}

// The payload of a frame in one piece, for which the frame is kept.
pbuf* lend_payload(interface& i, const received_frame& f, uint32_t headers) {
  pbuf* p = lend_frame(i, f, f.length - SIZEOF_ETH_HDR);
  pbuf_remove_header(p, headers - SIZEOF_ETH_HDR);
  return p;
}

// The same, copied.
pbuf* copy_payload(const uint8_t* from, uint32_t bytes) {
  const bool is_short = bytes <= copy_limit;
  // Room for the last step of copy_short(); receive buffers have it anyway.
  pbuf* p = take_buffer(0, is_short ? bytes + 31 : bytes);
  if (!p)
    return nullptr;
  if (is_short) {
    p->len = p->tot_len = static_cast<u16_t>(bytes);
    copy_short(static_cast<uint8_t*>(p->payload), from, bytes);
  } else {
    __builtin_memcpy(p->payload, from, bytes);
  }
  return p;
}

// A frame in one piece that its connection expects (tcp_predict.cc). False: it takes the long way.
bool receive_predicted(interface& i, received_frame& f) {
  if (f.segments != 1 || f.checksum == checksum_state::none)
    return false;
  tcp_pcb* c = predict(i, f.data, f.length);
  if (!c)
    return false;
  const uint32_t headers = predicted_headers(f.data);
  const uint32_t payload = f.length - SIZEOF_ETH_HDR, bytes = f.length - headers;
  const bool lent = may_lend(i, f, payload);
  pbuf* data = nullptr;
  if (bytes != 0) {
    if (!static_cast<const tcp_socket*>(c->callback_arg)->may_take(bytes)) [[unlikely]]
      return false;
    data = lent ? lend_payload(i, f, headers) : copy_payload(f.data + headers, bytes);
    if (!data)
      return false;
  }
  if (capture_on) [[unlikely]]
    capture_received(f, f.length);
  ++i.counted.received;
  i.counted.received_bytes += f.length;
  take_predicted(*c, f.data, data);
  if (!lent) {
    i.dev->release_frame(f);
    note_queued(i);
  }
  return true;
}

void receive_frame(interface& i, received_frame& f) {
  if (receive_predicted(i, f)) [[likely]]
    return;
  const uint32_t total = frame_length(f);
  const uint32_t payload = total - SIZEOF_ETH_HDR;
  pbuf* p = nullptr;
  bool lent = false;
  uint16_t type = 0;
  bool group = false, broadcast = false;
  // The protocol headers lie in the first piece; 64 kB of payload is what lwIP's lengths can hold.
  if (f.length >= SIZEOF_ETH_HDR + 20 && payload <= 0xffff) {
    type = static_cast<uint16_t>(f.data[12] << 8 | f.data[13]);
    group = f.data[0] & 1;
    broadcast = group && f.data[0] == 0xff;
    lent = may_lend(i, f, payload);
    p = lent ? lend_frame(i, f, payload) : copy_frame(f, payload);
  }
  if (capture_on) [[unlikely]]
    capture_received(f, total);
  ++i.counted.received;
  i.counted.received_bytes += total;
  const checksum_state checksum = f.checksum;
  if (!p || !lent) {
    i.dev->release_frame(f);
    note_queued(i);
  }
  if (!p) {
    ++i.counted.dropped;
    return;
  }
  if (group)
    p->flags |= broadcast ? PBUF_FLAG_LLBCAST : PBUF_FLAG_LLMCAST;
  hand_up(i, p, type, checksum);
}

// --- sending

err_t link_output(netif* n, pbuf* p) {
  interface& i = interface_of(n);
  transmit_offload offload;
  if (i.checksums_sent)
    request_checksum(p->payload, p->len, p->tot_len, offload);
  if (p->segment_size)
    request_segmentation(p->payload, p->len, p->segment_size, offload);
  learn_neighbour(i, p->payload, p->len);
  return transmit_frame(i, p, offload);
}

} // namespace

size_t packet_memory(const pbuf& first) {
  size_t bytes = 0;
  for (const pbuf* p = &first; p; p = p->next) {
    if (p->flags & PBUF_FLAG_IS_CUSTOM) {
      const auto& piece = *reinterpret_cast<const lent_piece*>(p);
      // Each piece of a frame holds the whole of it; the first counts.
      if (piece.custom.custom_free_function != free_piece)
        bytes += p->len;
      else if (&piece == &piece.owner->first)
        bytes += piece.owner->held;
    } else {
      bytes += buffer_memory(*p);
    }
  }
  return bytes;
}

bool is_ours(const netif* n) {
  return n->linkoutput == link_output;
}

namespace {

// --- starting

err_t set_up(netif* n) {
  interface& i = interface_of(n);
  n->name[0] = 'e';
  n->name[1] = 'n';
  n->linkoutput = link_output;
  n->output = etharp_output;
  n->output_ip6 = ethip6_output;
  n->mtu = i.dev->mtu();
  n->hwaddr_len = ETH_HWADDR_LEN;
  const mac_address mac = i.dev->mac();
  __builtin_memcpy(n->hwaddr, mac.bytes, ETH_HWADDR_LEN);
  n->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET;
  i.checksums_sent = i.dev->offers_transmit_checksum();
  i.gso_types = static_cast<uint8_t>(i.dev->transmit_gso_types());
  u16_t flags = NETIF_CHECKSUM_ENABLE_ALL & ~(NETIF_CHECKSUM_CHECK_TCP | NETIF_CHECKSUM_CHECK_UDP);
  if (i.checksums_sent)
    flags &= ~(NETIF_CHECKSUM_GEN_TCP | NETIF_CHECKSUM_GEN_UDP);
  n->chksum_flags = flags;
  return ERR_OK;
}

void start_interface(device& d, bool first) {
  void* memory = mem::allocate_zeroed(sizeof(interface));
  if (!memory) {
    log::error("net: no memory for interface %s", d.name());
    return;
  }
  auto* i = static_cast<interface*>(memory);
  i->dev = &d;
  i->waiting.start(mem::frame_usage().total_bytes);
  netif_add_noaddr(&i->n, nullptr, set_up, nullptr);
  interfaces[interface_count++] = i;
  if (first)
    netif_set_default(&i->n);
  d.set_notify(device_interrupt, nullptr);
  if (d.link_up())
    netif_set_link_up(&i->n);
  configure_addresses(i->n);
}

} // namespace

result<void> attach(device& d) {
  if (device_count == max_devices)
    return error::nospc;
  devices[device_count++] = &d;
  return {};
}

void start_interfaces() {
  max_lent = max_of<size_t>(least_lent, mem::frame_usage().total_bytes / 32);
  check_interface_options(device_count);
  for (unsigned k = 0; k < device_count; ++k)
    start_interface(*devices[k], k == 0);
}

bool have_interfaces() {
  return interface_count != 0;
}

unsigned receive_frames() {
  unsigned frames = 0;
  for (unsigned k = 0; k < interface_count; ++k) {
    interface& i = *interfaces[k];
    received_frame f;
    for (unsigned n = 0; n < receive_batch && i.dev->receive(f); ++n, ++frames)
      receive_frame(i, f);
  }
  return frames;
}

void reclaim_frames() {
  for (unsigned k = 0; k < interface_count; ++k) {
    interface& i = *interfaces[k];
    i.dev->reclaim_transmitted();
    if (!i.waiting.empty()) [[unlikely]]
      send_waiting(i);
    if (i.ring_was_full && i.waiting.empty()) [[unlikely]] {
      i.ring_was_full = false;
      i.overtaken_by = 0;
      send_refused();
    }
    if (i.refused_senders) [[unlikely]]
      tell_refused(i);
  }
}

bool frames_waiting() {
  for (unsigned k = 0; k < interface_count; ++k)
    if (!interfaces[k]->waiting.empty())
      return true;
  return false;
}

void flush_devices() {
  if (capture_on) [[unlikely]]
    send_captured();
  any_frames_queued = false;
  for (unsigned k = 0; k < interface_count; ++k) {
    interface& i = *interfaces[k];
    if (!i.queued)
      continue;
    i.queued = false;
    i.dev->flush();
  }
}

void drop_spare_frames() {
  for (unsigned k = 0; k < interface_count; ++k)
    interfaces[k]->dev->drop_spare_buffers();
}

bool enable_device_interrupts() {
  for (unsigned k = 0; k < interface_count; ++k)
    if (!interfaces[k]->dev->broken() && !interfaces[k]->dev->enable_interrupts())
      return false;
  return true;
}

void disable_device_interrupts() {
  for (unsigned k = 0; k < interface_count; ++k)
    interfaces[k]->dev->disable_interrupts();
}

void check_links() {
  refresh_name_servers();
  for (unsigned k = 0; k < interface_count; ++k) {
    interface& i = *interfaces[k];
    if (i.dev->take_announce_request())
      etharp_gratuitous(&i.n);
    keep_addresses(i.n);
    if (i.dev->link_up() == bool(netif_is_link_up(&i.n)))
      continue;
    if (i.dev->link_up())
      netif_set_link_up(&i.n);
    else
      netif_set_link_down(&i.n);
  }
}

} // namespace oblako::net

using namespace oblako::net;

// Lengths of 16 bits have to hold the frame with all headers.
extern "C" u16_t oblako_tcp_large_segment(const netif* n, const ip_addr_t* remote_ip) {
  constexpr uint16_t headers = SIZEOF_ETH_HDR + 40 + 60;
  if (!is_ours(n))
    return 0;
  const bool v6 = IP_IS_V6(remote_ip);
  if (!(reinterpret_cast<const interface*>(n)->gso_types & (v6 ? 1u << gso_tcp6 : 1u << gso_tcp4)))
    return 0;
  return 0xffff - headers;
}
