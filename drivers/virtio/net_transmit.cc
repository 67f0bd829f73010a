// Sending. Spec: virtio 1.1, 5.1.6.2.
#include "drivers/virtio/net_transmit.hh"
#include "core/mem/heap.hh"
#include "drivers/virtio/dma.hh"

namespace oblako::virtio {

result<void> net_transmitter::start() {
  auto* slots = static_cast<slot*>(mem::allocate(queue_.size() * sizeof(slot)));
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
  slot* s = free_;
  if (!s) {
    waiting_ = true;
    return error::again;
  }
  s->done = done;
  s->cookie = cookie;
  s->header = {};
  if (offload.needs_checksum) {
    s->header.flags = spec::net::header_needs_checksum;
    s->header.checksum_start = offload.checksum_start;
    s->header.checksum_offset = offload.checksum_offset;
  }
  if (offload.gso_type) {
    s->header.gso_type = offload.gso_type;
    s->header.gso_size = offload.gso_size;
    s->header.header_length = offload.header_length;
  }
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
  s->next_free = free_;
  free_ = s;
  s->done(s->cookie);
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
