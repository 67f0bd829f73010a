// Private to core/net: packet buffers made without lwIP's calls in between. Context: the stack's
// lock is held.
#pragma once

#include "core/net/packet_lists.hh"
#include "lwip/pbuf.h"

namespace oblako::net {

// A packet buffer of one piece: `room` bytes, a multiple of 8, and then the payload. nullptr: out
// of memory.
inline pbuf* take_buffer(size_t room, size_t bytes) {
  void* memory = take_packet_memory(sizeof(pbuf) + room + bytes);
  if (!memory) [[unlikely]]
    return nullptr;
  auto* p = static_cast<pbuf*>(memory);
  p->next = nullptr;
  p->payload = reinterpret_cast<uint8_t*>(p + 1) + room;
  p->tot_len = p->len = static_cast<u16_t>(bytes);
  p->type_internal = static_cast<u8_t>(PBUF_RAM);
  p->flags = 0;
  p->ref = 1;
  p->if_idx = NETIF_NO_INDEX;
  p->segment_size = 0;
  return p;
}

// pbuf_free().
inline void free_packet(pbuf* p) {
  if (p->ref == 1 && !p->next && p->type_internal == static_cast<u8_t>(PBUF_RAM) &&
      !(p->flags & PBUF_FLAG_IS_CUSTOM)) [[likely]]
    release_packet_memory(p);
  else
    pbuf_free(p);
}

} // namespace oblako::net
