#include "core/net/send_buffer.hh"

#include "core/base/types.hh"
#include "core/mem/heap.hh"
#include "core/net/free_list.hh"
#include "hooks.h"
#include "lwip/pbuf.h"
#include "lwip/tcp.h"
#include <new>

namespace oblako::net {
namespace {

constexpr size_t largest_buffer = 64_KiB;

// A pbuf that refers to a part of a send_buffer and keeps it alive.
struct reference_pbuf {
  pbuf_custom custom; // first: lwIP hands back a pointer to it
  send_buffer* buffer;
};

constinit free_list references{sizeof(reference_pbuf), 256};

// The buffer whose data tcp_write() is queueing right now.
send_buffer* current;

void free_reference(pbuf* p) {
  auto* reference = reinterpret_cast<reference_pbuf*>(p);
  reference->buffer->drop_reference();
  references.give(reference);
}

} // namespace

result<send_buffer*> send_buffer::make(size_t wanted) {
  for (size_t bytes = min_of(wanted + sizeof(send_buffer), largest_buffer);;
       bytes = min_of(bytes / 2, page_size)) {
    if (void* memory = mem::allocate_buffer(bytes))
      return ::new (memory) send_buffer(static_cast<uint32_t>(bytes - sizeof(send_buffer)));
    if (bytes <= page_size)
      return error::nomem;
  }
}

void send_buffer::drop_reference() {
  if (--references_ == 0)
    mem::release(this);
}

bool send_buffer::queue(tcp_pcb* connection, uint16_t bytes, uint8_t write_flags) {
  current = this;
  const err_t outcome = tcp_write(connection, data(), bytes, write_flags);
  current = nullptr;
  return outcome == ERR_OK;
}

} // namespace oblako::net

using namespace oblako;

extern "C" pbuf* oblako_tcp_reference(u16_t length) {
  auto* reference = static_cast<net::reference_pbuf*>(net::references.take());
  if (!reference)
    return nullptr;
  reference->custom.custom_free_function = net::free_reference;
  reference->buffer = net::current;
  net::current->add_reference();
  return pbuf_alloced_custom(PBUF_RAW, length, PBUF_ROM, &reference->custom, nullptr, length);
}

// Null also for what is no reference.
extern "C" pbuf* oblako_tcp_split_reference(pbuf* p, u16_t offset, u16_t length) {
  auto* whole = reinterpret_cast<net::reference_pbuf*>(p);
  if (!(p->flags & PBUF_FLAG_IS_CUSTOM) ||
      whole->custom.custom_free_function != net::free_reference)
    return nullptr;
  auto* part = static_cast<net::reference_pbuf*>(net::references.take());
  if (!part)
    return nullptr;
  part->custom.custom_free_function = net::free_reference;
  part->buffer = whole->buffer;
  part->buffer->add_reference();
  return pbuf_alloced_custom(PBUF_RAW, length, PBUF_ROM, &part->custom,
                             static_cast<uint8_t*>(p->payload) + offset, length);
}
