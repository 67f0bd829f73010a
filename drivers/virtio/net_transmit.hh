// The transmit side of a network device: a header in front of the caller's pieces, gathered by
// the device; the caller is told when it may reuse them.
#pragma once

#include "core/net/device.hh"
#include "drivers/virtio/net_spec.hh"
#include "drivers/virtio/virtqueue.hh"

namespace oblako::virtio {

class net_transmitter : noncopyable {
public:
  explicit net_transmitter(virtqueue& queue) : queue_(queue) {}

  // Errors: nomem.
  result<void> start();
  // Errors: again (ring full), io (broken), inval (no pieces, or more than the ring takes).
  result<void> transmit(const net::segment* parts, size_t count,
                        const net::transmit_offload& offload, void (*done)(void*), void* cookie);
  // The same for one piece with the slot's place in front of it. Errors: again, io.
  result<void> transmit_whole(uint8_t* frame, uint32_t length, const net::transmit_offload& offload,
                              void (*done)(void*), void* cookie);
  // Calls done() for what has been sent; returns the number of free descriptors.
  size_t reclaim();
  // After the device has been reset: done() for everything it held.
  void drop_all();
  // True once a frame did not fit, until there is room again: only then is it worth an interrupt.
  bool waiting_for_room() const { return waiting_; }

  uint64_t frames() const { return frames_; }
  uint64_t bytes() const { return bytes_; }

private:
  // What goes with a frame. Those in front of a whole frame go with it; the others are ours.
  struct slot {
    void (*done)(void*);
    void* cookie;
    uint32_t ours;
    spec::net::header header; // last: in front of a whole frame
  };
  static_assert(sizeof(slot) == net::device::frame_room);
  struct own_slot : slot {
    own_slot* next_free;
  };
  static void fill_in(slot& s, const net::transmit_offload& offload, void (*done)(void*),
                      void* cookie);
  result<void> queue(slot& s, const net::segment* parts, size_t count);
  void finish(slot* s);

  virtqueue& queue_;
  own_slot* free_ = nullptr;
  bool waiting_ = false;
  uint64_t frames_ = 0, bytes_ = 0;
};

} // namespace oblako::virtio
