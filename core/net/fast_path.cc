// A short way through the layers for what nearly all packets are: TCP over IPv4 without options or
// fragments, between this host's address and a neighbour that was sent to a moment ago. Everything
// else takes lwIP's way, and so does one packet a second to each neighbour, which keeps lwIP's ARP
// table current and this file's memory of it honest.
#include "core/net/fast_path.hh"
#include "hooks.h"
#include "lwip/ip.h"
#include "lwip/ip4.h"
#include "lwip/priv/tcp_priv.h"

namespace oblako::net {

interface* last_learnt;

namespace {

// True if there is room for the headers in front of the segment, in the same buffer.
bool has_room(const pbuf* p) {
  return (p->type_internal & PBUF_TYPE_FLAG_STRUCT_DATA_CONTIGUOUS) &&
         static_cast<const uint8_t*>(p->payload) - reinterpret_cast<const uint8_t*>(p + 1) >=
             static_cast<ptrdiff_t>(sizeof(frame_headers));
}

} // namespace

void learn_neighbour(interface& i, const void* frame, uint32_t contiguous) {
  const auto* h = static_cast<const frame_headers*>(frame);
  if (contiguous < sizeof *h)
    return;
  if (__builtin_memcmp(h->ethernet + 12, &type_ipv6, 2) == 0)
    return learn_neighbour6(i, frame, contiguous);
  if (__builtin_memcmp(h->ethernet + 12, &type_ipv4, 2) != 0 || (h->ethernet[0] & 1) ||
      h->protocol != protocol_tcp)
    return;
  neighbour& n = slot_of(i, h->to);
  n.ip = h->to;
  n.learnt = tcp_ticks;
  last_learnt = &i;
  __builtin_memcpy(n.header, h->ethernet, sizeof n.header);
}

bool fast_input(interface& i, pbuf* p) {
  const auto* ip = static_cast<const uint8_t*>(p->payload);
  const auto* h = reinterpret_cast<const frame_headers*>(ip - sizeof frame_headers::ethernet);
  const uint16_t length = __builtin_bswap16(h->length);
  if (p->len < ip_header + TCP_HLEN || h->version != 0x45 || h->protocol != protocol_tcp ||
      (h->fragment & __builtin_bswap16(0x3fff)) || length != p->tot_len ||
      h->to != ip4_addr_get_u32(netif_ip4_addr(&i.n)))
    return false;
  if ((p->flags & (PBUF_FLAG_LLBCAST | PBUF_FLAG_LLMCAST)) || is_martian_source(h->from))
    return false;
  if (fold(sum_of_header(ip)) != 0xffff)
    return false;

  ip_data.current_netif = ip_data.current_input_netif = &i.n;
  ip_data.current_ip4_header = reinterpret_cast<const ip_hdr*>(ip);
  ip_data.current_ip_header_tot_len = ip_header;
  ip_addr_set_ip4_u32_val(ip_data.current_iphdr_src, h->from);
  ip_addr_set_ip4_u32_val(ip_data.current_iphdr_dest, h->to);
  p->payload = const_cast<uint8_t*>(ip) + ip_header;
  p->len = static_cast<u16_t>(p->len - ip_header);
  p->tot_len = static_cast<u16_t>(p->tot_len - ip_header);
  oblako_tcp_to_our_address = 1;
  tcp_input(p, &i.n);
  oblako_tcp_to_our_address = 0;
  ip_data.current_netif = ip_data.current_input_netif = nullptr;
  ip_data.current_ip4_header = nullptr;
  return true;
}

} // namespace oblako::net

using namespace oblako::net;

u8_t oblako_tcp_to_our_address;

extern "C" netif* oblako_tcp_route(const ip_addr_t* src, const ip_addr_t* dst) {
  if (!last_learnt || !IP_IS_V4(dst))
    return nullptr;
  netif* n = &last_learnt->n;
  const uint32_t to = ip4_addr_get_u32(ip_2_ip4(dst));
  const neighbour& way = slot_of(*last_learnt, to);
  const bool known = way.ip == to && tcp_ticks - way.learnt < neighbour_lifetime &&
                     ip4_addr_get_u32(ip_2_ip4(src)) == ip4_addr_get_u32(netif_ip4_addr(n));
  return known ? n : nullptr;
}

extern "C" err_t oblako_tcp_output_if(pbuf* p, const ip_addr_t* src, const ip_addr_t* dst, u8_t ttl,
                                      u8_t tos, u8_t protocol, netif* n) {
  if (!is_ours(n) || !IP_IS_V4(dst) || !has_room(p))
    return ip_output_if(p, src, dst, ttl, tos, protocol, n);
  interface& i = interface_of(n);
  const uint32_t to = ip4_addr_get_u32(ip_2_ip4(dst)), from = ip4_addr_get_u32(ip_2_ip4(src));
  const neighbour& way = slot_of(i, to);
  if (way.ip != to || tcp_ticks - way.learnt >= neighbour_lifetime)
    return ip_output_if(p, src, dst, ttl, tos, protocol, n);

  auto* segment = static_cast<uint8_t*>(p->payload);
  const uint16_t segment_length = p->tot_len;
  auto& h = *reinterpret_cast<frame_headers*>(segment - sizeof(frame_headers));
  __builtin_memcpy(h.ethernet, way.header, sizeof h.ethernet);
  h.version = 0x45;
  h.service = tos;
  h.length = __builtin_bswap16(static_cast<uint16_t>(segment_length + ip_header));
  h.id = 0; // nobody cuts it (RFC 6864, 4.1)
  h.fragment = not_to_be_cut;
  h.time_to_live = ttl;
  h.protocol = protocol;
  h.from = from;
  h.to = to;
  h.checksum = 0;
  h.checksum = static_cast<uint16_t>(~fold(sum_of_header(&h.version)));
  p->payload = &h;
  p->len = static_cast<u16_t>(p->len + sizeof h);
  p->tot_len = static_cast<u16_t>(p->tot_len + sizeof h);

  transmit_offload offload;
  if (i.checksums_sent) {
    // The field holds the pseudo-header's sum; the device adds the rest.
    constexpr uint16_t field = 16;
    const uint16_t sum =
        fold(uint64_t{from} + to + (uint32_t{protocol} << 8) + __builtin_bswap16(segment_length));
    __builtin_memcpy(segment + field, &sum, sizeof sum);
    offload.needs_checksum = true;
    offload.checksum_start = sizeof(frame_headers);
    offload.checksum_offset = field;
    if (const uint16_t payload = p->segment_size) {
      offload.gso_type = gso_tcp4;
      offload.gso_size = payload;
      offload.header_length = static_cast<uint16_t>(
          sizeof(frame_headers) + TCPH_HDRLEN_BYTES(reinterpret_cast<const tcp_hdr*>(segment)));
    }
  }
  return transmit_frame(i, p, offload);
}
