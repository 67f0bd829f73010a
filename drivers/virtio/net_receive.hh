// The receive side of a network device: a pool of buffers that are with the device, with the stack,
// or waiting.
//
// A buffer is 2^order pages: what is long costs less in few pieces. Where memory does not have that
// in one piece any more, it is a single page.
//
// The ring is kept at `target` buffers: few to begin with, because filling it is what a start waits
// for, and twice as many whenever it has run low, up to `most`. While the stack holds some, others
// take their place, up to `limit` bytes in all; beyond that the ring runs low and the device drops,
// which is the end of what a sender can make us use. At least `target` buffers are never given back
// to the system, so that a ring that has run empty fills again from what the stack returns,
// whatever memory is like.
#pragma once

#include "core/net/device.hh"
#include "drivers/virtio/virtqueue.hh"

namespace oblako::virtio {

class net_receiver : noncopyable {
public:
  net_receiver(virtqueue& queue, bool mergeable, unsigned order)
      : queue_(queue), mergeable_(mergeable), order_(static_cast<uint8_t>(order)) {}

  // Fills the ring. Units: most in buffers, limit in bytes. Errors: nomem (not even a few buffers).
  result<void> start(size_t most, size_t limit);
  bool receive(net::received_frame& out);
  // Takes the frame's buffers back; looks at the cookie only.
  void release(net::received_frame& f);
  // Gives what is kept beyond the ring's need back to the system.
  void drop_spare();
  // Puts buffers on the ring and notifies, if the ring is short of them.
  void refill();
  // After the device has been reset: everything it held is free memory.
  void drop_all();
  // The same, but the buffers wait for fill().
  void take_all_back();
  // Puts buffers on the ring; the device is not told.
  void fill();

  uint64_t frames() const { return frames_; }
  uint64_t bytes() const { return bytes_; }
  uint64_t errors() const { return errors_; }

  // The head of each buffer is ours and, while it has it, the stack's; the rest is the device's.
  static constexpr size_t buffer_offset = 128;
  static constexpr size_t room_for_data(unsigned order) {
    return (page_size << order) - buffer_offset;
  }

private:
  struct buffer {
    buffer* next;    // of the same frame, or of the free list
    uint32_t length; // what the device wrote
    uint8_t order;
    uint8_t* data() { return reinterpret_cast<uint8_t*>(this) + buffer_offset; }
    size_t bytes() const { return page_size << order; }
  };
  static_assert(sizeof(buffer) + net::received_frame::room_in_front <= buffer_offset);

  buffer* obtain();
  void set_target(size_t buffers);
  void take_several(size_t wanted);
  void keep(buffer* b);
  void give_back(buffer* b);
  void destroy(buffer* b);
  bool post(buffer* b);
  unsigned pieces_of(buffer* b, uint32_t written) const;
  bool add_piece(buffer* b, uint32_t written);
  void hand_out(net::received_frame& out, buffer* first, uint32_t written);
  void fail();

  virtqueue& queue_;
  const bool mergeable_;
  const uint8_t order_;
  size_t most_ = 0;
  size_t target_ = 0;
  size_t spare_ = 0; // buffers kept beyond the target, so that not every one lent is a new one
  size_t limit_ = 0;
  size_t total_ = 0;  // bytes of all buffers
  size_t posted_ = 0; // on the ring
  buffer* free_ = nullptr;
  size_t free_count_ = 0;

  // The frame being put together; complete when missing_ is 0.
  buffer* first_ = nullptr;
  buffer* last_ = nullptr;
  unsigned pieces_ = 0;
  unsigned missing_ = 0;
  uint32_t held_ = 0; // bytes of its buffers

  uint64_t frames_ = 0, bytes_ = 0, errors_ = 0;
};

} // namespace oblako::virtio
