// Frames that found the device's ring full, in the order in which they are to leave: a burst of
// answers is larger than a ring. They lie with the packets themselves, in the room that each has in
// front for the device (device::frame_room), and hold a reference to each.
//
// Invariants: while any frame waits, no other is given to the device before it (a connection's
// segments keep their order); bytes() is the sum of the frames' lengths and never exceeds
// limit(), but for the rest of a datagram that was begun below it. Beyond that a sender is refused,
// and TCP keeps what it has. Not locked: the network lock
// is held.
#pragma once

#include "core/base/types.hh"
#include "core/net/device.hh"

namespace oblako::net {

class waiting_frames {
public:
  // However much memory there is: ten thousand short answers, and no more than a millisecond of a
  // fast network.
  static constexpr size_t most_bytes = 1_MiB;
  // Short frames take some four times their length, and acknowledgements are in nobody's account.
  static constexpr unsigned part_of_memory = 64;

  struct frame {
    uint8_t* data; // with the room in front
    void* packet;  // what it belongs to
    uint32_t length;
    transmit_offload offload;
  };

  void start(uint64_t memory) {
    limit_ = static_cast<size_t>(min_of<uint64_t>(most_bytes, memory / part_of_memory));
  }
  size_t limit() const { return limit_; }
  bool empty() const { return !first_; }
  size_t bytes() const { return bytes_; }
  uint32_t count() const { return count_; }

  // At the end. False: too many wait.
  bool add(const frame& f, size_t beyond_limit = 0) {
    if (bytes_ + f.length > limit_ + beyond_limit)
      return false;
    entry& e = fill_in(f);
    e.behind = nullptr;
    (first_ ? last_->behind : first_) = &e;
    last_ = &e;
    return true;
  }

  // The first; there must be one.
  frame take() {
    entry& e = *first_;
    bytes_ -= e.length;
    --count_;
    first_ = e.behind;
    return {reinterpret_cast<uint8_t*>(&e) + device::frame_room, e.packet, e.length, e.offload};
  }

  // What take() gave, after the device has used the room in front of it but has not taken it.
  void put_back(const frame& f) {
    entry& e = fill_in(f);
    if (!first_)
      last_ = &e;
    e.behind = first_;
    first_ = &e;
  }

  // Calls what(packet) for each that waits.
  template <class What>
  void for_each(What what) const {
    for (const entry* e = first_; e; e = e->behind)
      what(e->packet);
  }

private:
  struct entry {
    entry* behind;
    void* packet;
    uint32_t length;
    transmit_offload offload;
  };
  static_assert(sizeof(entry) <= device::frame_room);

  entry& fill_in(const frame& f) {
    auto& e = *reinterpret_cast<entry*>(f.data - device::frame_room);
    e.packet = f.packet;
    e.length = f.length;
    e.offload = f.offload;
    bytes_ += f.length;
    ++count_;
    return e;
  }

  entry *first_ = nullptr, *last_ = nullptr;
  size_t bytes_ = 0, limit_ = 0;
  uint32_t count_ = 0;
};

} // namespace oblako::net
