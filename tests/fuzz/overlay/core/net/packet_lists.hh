// In the fuzzer's build memory given back is freed, so that ASan knows of every use after that.
#pragma once

#include "hooks.h"
#include "lwip/memp.h"
#include "lwip/pbuf.h"
#include "lwip/priv/tcp_priv.h"

namespace oblako::net {

// There are no lists.
inline void drop_packet_lists() {}

inline void* take_packet_memory(size_t bytes) {
  return oblako_pbuf_allocate(bytes);
}
inline void release_packet_memory(pbuf* p) {
  oblako_pbuf_release(p);
}
inline tcp_seg* take_segment() {
  return static_cast<tcp_seg*>(memp_malloc(MEMP_TCP_SEG));
}
inline void release_segment(tcp_seg* s) {
  memp_free(MEMP_TCP_SEG, s);
}

inline size_t buffer_memory(const pbuf& p) {
  return sizeof(pbuf) + p.len;
}

// Every buffer has just the memory it needs, so that ASan sees its end.
inline size_t tail_room(const pbuf&) {
  return 0;
}

} // namespace oblako::net
