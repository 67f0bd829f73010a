// Private to core/net: the free lists of what every packet takes and gives back (pools.cc).
// Context: the stack's lock is held.
#pragma once

#include "core/net/free_list.hh"
#include "hooks.h"
#include "lwip/memp.h"
#include "lwip/pbuf.h"
#include "lwip/priv/tcp_priv.h"

namespace oblako::net {

// Packet buffers: an acknowledgement or a short message, and a full segment. A buffer's size_class
// is its list's number; others are the heap's.
constexpr size_t packet_sizes[] = {320, 2048};
constexpr u8_t packet_list_count = 2;
extern free_list packet_lists[packet_list_count];
// One list for each kind of structure that lwIP allocates.
extern free_list structures[MEMP_MAX];

// Gives what the lists keep back to the heap.
void drop_packet_lists();

// nullptr: out of memory.
inline void* take_packet_memory(size_t bytes) {
  if (bytes > packet_sizes[0]) [[unlikely]]
    return oblako_pbuf_allocate(bytes);
  void* memory = packet_lists[0].take();
  if (memory) [[likely]]
    static_cast<pbuf*>(memory)->size_class = 0;
  return memory;
}
inline void release_packet_memory(pbuf* p) {
  if (p->size_class == 0) [[likely]]
    packet_lists[0].give(p);
  else
    oblako_pbuf_release(p);
}

// How much can be added behind what a buffer holds; none if it is not from one of the lists.
inline size_t tail_room(const pbuf& p) {
  if (p.size_class >= packet_list_count)
    return 0;
  const auto* begin = reinterpret_cast<const uint8_t*>(&p);
  const auto* end = static_cast<const uint8_t*>(p.payload) + p.len;
  return packet_lists[p.size_class].size() - static_cast<size_t>(end - begin);
}

// What a buffer takes of memory; whole pages if it is not from one of the lists.
inline size_t buffer_memory(const pbuf& p) {
  return p.size_class < packet_list_count ? packet_lists[p.size_class].size()
                                          : align_up(sizeof(pbuf) + p.len, page_size);
}

inline tcp_seg* take_segment() {
  return static_cast<tcp_seg*>(structures[MEMP_TCP_SEG].take());
}
inline void release_segment(tcp_seg* s) {
  structures[MEMP_TCP_SEG].give(s);
}

} // namespace oblako::net
