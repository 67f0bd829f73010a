// Free lists for what every packet takes and gives back: TCP segments, packet buffers and the other
// fixed structures of lwIP. Taking from a list and giving back costs a few instructions; what a
// list does not hold comes from and goes to the kernel heap. Guarded by the stack's lock.
#include "core/mem/buffer_account.hh"
#include "core/net/packet_lists.hh"
#include "hooks.h"
#include "lwip/dhcp.h"
#include "lwip/etharp.h"
#include "lwip/ip4_frag.h"
#include "lwip/ip6_frag.h"
#include "lwip/memp.h"
#include "lwip/netif.h"
#include "lwip/pbuf.h"
#include "lwip/priv/nd6_priv.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/udp.h"

namespace oblako::net {
namespace {

constexpr uint16_t kept(memp_t type) {
  return type == MEMP_TCP_SEG || type == MEMP_PBUF ? 256 : type == MEMP_TCP_PCB ? 16 : 0;
}

// Buffers that none of the lists has are the heap's.
constexpr u8_t of_the_heap = 0xff;

} // namespace

constinit free_list structures[MEMP_MAX] = {
#define LWIP_MEMPOOL(name, num, size, desc) {LWIP_MEM_ALIGN_SIZE(size), kept(MEMP_##name)},
#include "lwip/priv/memp_std.h"
};
constinit free_list packet_lists[packet_list_count] = {{packet_sizes[0], 256},
                                                       {packet_sizes[1], 32}};

void drop_packet_lists() {
  for (free_list& l : structures)
    l.drop_all();
  for (free_list& l : packet_lists)
    l.drop_all();
}

} // namespace oblako::net

using namespace oblako;
using namespace oblako::net;

extern "C" {

// Packets that wait for a neighbour's address are dropped while memory is short.
void* memp_malloc(memp_t type) {
  if ((type == MEMP_ARP_QUEUE || type == MEMP_ND6_QUEUE) && mem::buffers.is_short())
    return nullptr;
  return structures[type].take();
}

void memp_free(memp_t type, void* memory) {
  if (memory)
    structures[type].give(memory);
}

void* oblako_pbuf_allocate(size_t bytes) {
  u8_t size_class = 0;
  for (; size_class < packet_list_count; ++size_class)
    if (bytes <= packet_lists[size_class].size())
      break;
  void* memory = size_class < packet_list_count ? packet_lists[size_class].take()
                                                : mem::allocate_buffer(bytes);
  if (memory)
    static_cast<pbuf*>(memory)->size_class =
        size_class < packet_list_count ? size_class : of_the_heap;
  return memory;
}

void oblako_pbuf_release(pbuf* p) {
  if (p->size_class == of_the_heap)
    mem::release(p);
  else
    packet_lists[p->size_class].give(p);
}

} // extern "C"
