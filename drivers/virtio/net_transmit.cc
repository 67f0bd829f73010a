// Sending. Spec: virtio 1.1, 5.1.6.2.
#include "drivers/virtio/net_transmit.hh"
#include "core/mem/heap.hh"
#include "drivers/virtio/dma.hh"
#include <stddef.h>

namespace oblako::virtio {

result<void> net_transmitter::start() {
  auto* slots = static_cast<own_slot*>(mem::allocate(queue_.size() * sizeof(own_slot)));
  if (!slots)
    return error::nomem;
  for (size_t i = 0; i < queue_.size(); ++i) {
    slots[i].next_free = free_;
    free_ = &slots[i];
  }
  return {};
}

result<void> net_transmitter::transmit(const net::segment* parts, size_t count,
                                       const net::transmit_offload& offload, void (*done)(void*),
                                       void* cookie) {
  if (count == 0 || count >= queue_.size())
    return error::inval;
  // A chain takes at least one of the ring's descriptors and there is a slot for each of those.
  own_slot* s = free_;
  if (!s) {
    waiting_ = true;
    return error::again;
  }
  fill_in(*s, offload, done, cookie);
  s->ours = true;
  auto queued = queue(*s, parts, count);
  if (!queued.ok()) {
    waiting_ |= queued.code() == error::again;
    return queued;
  }
  free_ = s->next_free;
  for (size_t i = 0; i < count; ++i)
    bytes_ += parts[i].length;
  ++frames_;
  return {};
}

inline void net_transmitter::fill_in(slot& s, const net::transmit_offload& offload,
                                     void (*done)(void*), void* cookie) {
  s.done = done;
  s.cookie = cookie;
  // A request has the header's layout, and what it does not ask for is zero.
  static_assert(
      offsetof(spec::net::header, gso_type) == offsetof(net::transmit_offload, gso_type) &&
      offsetof(spec::net::header, header_length) ==
          offsetof(net::transmit_offload, header_length) &&
      offsetof(spec::net::header, gso_size) == offsetof(net::transmit_offload, gso_size) &&
      offsetof(spec::net::header, checksum_start) ==
          offsetof(net::transmit_offload, checksum_start) &&
      offsetof(spec::net::header, checksum_offset) ==
          offsetof(net::transmit_offload, checksum_offset) &&
      sizeof(net::transmit_offload) == sizeof(spec::net::header) &&
      spec::net::header_needs_checksum == true);
  __builtin_memcpy(&s.header, &offload, sizeof s.header);
}

// Header and frame lie together: one descriptor for both.
result<void> net_transmitter::transmit_whole(uint8_t* frame, uint32_t length,
                                             const net::transmit_offload& offload,
                                             void (*done)(void*), void* cookie) {
  slot& s = *reinterpret_cast<slot*>(frame - sizeof(slot));
  fill_in(s, offload, done, cookie);
  s.ours = false;
  const chain_buffer whole = {to_device(&s.header), static_cast<uint32_t>(sizeof s.header) + length,
                              false};
  auto queued = queue_.submit_one(whole, &s);
  if (!queued.ok()) [[unlikely]] {
    waiting_ |= queued.code() == error::again;
    return queued;
  }
  bytes_ += length;
  ++frames_;
  return {};
}

// Header and pieces as one chain.
result<void> net_transmitter::queue(slot& s, const net::segment* parts, size_t count) {
  const chain_buffer header = {to_device(&s.header), sizeof s.header, false};
  const auto buffer = [&](uint16_t i) {
    return i == 0 ? header : chain_buffer{to_device(parts[i - 1].data), parts[i - 1].length, false};
  };
  if (count < virtqueue::direct_limit)
    return queue_.submit_short(static_cast<uint16_t>(count + 1), buffer, &s);
  auto c = queue_.begin(static_cast<uint16_t>(count + 1));
  if (!c.ok())
    return c.code();
  c->add_readable(header.address, header.length);
  for (size_t i = 0; i < count; ++i)
    c->add_readable(to_device(parts[i].data), parts[i].length);
  queue_.submit(c.take(), &s);
  return {};
}

void net_transmitter::finish(slot* s) {
  void (*const done)(void*) = s->done;
  void* const cookie = s->cookie;
  if (s->ours) {
    auto* own = static_cast<own_slot*>(s);
    own->next_free = free_;
    free_ = own;
  }
  done(cookie); // the frame may go, and a slot in front of it
}

size_t net_transmitter::reclaim() {
  completion c;
  while (queue_.take_completed(c)) {
    waiting_ = false;
    finish(static_cast<slot*>(c.cookie));
  }
  return queue_.free_descriptors();
}

void net_transmitter::drop_all() {
  completion c;
  while (queue_.take_abandoned(c))
    finish(static_cast<slot*>(c.cookie));
  waiting_ = false;
}

} // namespace oblako::virtio
