#include "core/net/tcp_segment.hh"

#include "core/base/types.hh"
#include "lwip/memp.h"
#include "lwip/priv/tcp_priv.h"

namespace oblako::net {

result<size_t> queue_segment(tcp_pcb& c, mem::io_buffers& from, size_t bytes) {
  pbuf* p = pbuf_alloc(PBUF_TRANSPORT, static_cast<u16_t>(bytes), PBUF_RAM);
  auto* segment = static_cast<tcp_seg*>(memp_malloc(MEMP_TCP_SEG));
  if (!p || !segment) {
    if (p)
      pbuf_free(p);
    memp_free(MEMP_TCP_SEG, segment);
    return error::nobufs;
  }
  auto got = from.get(p->payload, bytes);
  if (!got.ok()) {
    pbuf_free(p);
    memp_free(MEMP_TCP_SEG, segment);
    return got;
  }
  const auto length = static_cast<u16_t>(*got);
  auto* header = reinterpret_cast<tcp_hdr*>(static_cast<uint8_t*>(p->payload) - TCP_HLEN);
  p->payload = header;
  p->len = p->tot_len = static_cast<u16_t>(length + TCP_HLEN);
  header->src = lwip_htons(c.local_port);
  header->dest = lwip_htons(c.remote_port);
  header->seqno = lwip_htonl(c.snd_lbb);
  TCPH_HDRLEN_FLAGS_SET(header, TCP_HLEN / 4, TCP_PSH);
  header->urgp = 0;
  segment->next = nullptr;
  segment->p = p;
  segment->len = length;
  segment->flags = 0;
  segment->tcphdr = header;

  c.unsent = segment;
  c.unsent_oversize = 0;
  c.snd_lbb += length;
  c.snd_buf -= length;
  ++c.snd_queuelen;
  return got;
}

} // namespace oblako::net
