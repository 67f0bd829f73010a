// The device's side of a split virtqueue, written from the specification (virtio 1.1, 2.6) on raw
// bytes, without any of the kernel's layouts or accessors, so that a mistake there shows here.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <vector>

namespace fake {

template <class T>
T read_raw(const void* base, size_t offset) {
  T value;
  memcpy(&value, static_cast<const char*>(base) + offset, sizeof(T));
  return value;
}
template <class T>
void write_raw(void* base, size_t offset, T value) {
  memcpy(static_cast<char*>(base) + offset, &value, sizeof(T));
}

struct piece {
  uint64_t address;
  uint32_t length;
  bool writable;
};

struct request {
  uint16_t head;
  bool indirect = false;
  std::vector<piece> pieces;

  uint64_t readable_bytes() const { return sum(false); }
  uint64_t writable_bytes() const { return sum(true); }

private:
  uint64_t sum(bool writable) const {
    uint64_t n = 0;
    for (auto& p : pieces)
      n += p.writable == writable ? p.length : 0;
    return n;
  }
};

// A driver that breaks the specification is a failed test, told by exception.
struct driver_error : std::runtime_error {
  using runtime_error::runtime_error;
};

class split_device {
public:
  // Addresses as the driver programmed them; `to_host` turns a device address into a pointer.
  split_device(void* descriptors, void* available, void* used, uint16_t size,
               void* (*to_host)(uint64_t))
      : descriptors_(descriptors), available_(available), used_(used), size_(size),
        to_host_(to_host) {}

  bool has_request() const { return driver_index() != next_; }
  uint16_t waiting() const { return static_cast<uint16_t>(driver_index() - next_); }
  uint16_t driver_index() const { return read_raw<uint16_t>(available_, 2); }
  uint16_t driver_flags() const { return read_raw<uint16_t>(available_, 0); }
  uint16_t used_event() const { return read_raw<uint16_t>(available_, 4 + 2 * size_); }

  request take() {
    if (!has_request())
      throw driver_error("nothing to take");
    if (waiting() > size_)
      throw driver_error("the driver's index is further ahead than the ring is long");
    request r;
    r.head = read_raw<uint16_t>(available_, 4 + 2 * (next_ % size_));
    if (r.head >= size_)
      throw driver_error("head out of range");
    ++next_;
    walk(descriptors_, size_, r.head, r, true);
    bool writable_seen = false;
    for (auto& p : r.pieces) {
      if (writable_seen && !p.writable)
        throw driver_error("readable after writable");
      writable_seen |= p.writable;
    }
    return r;
  }

  // Puts into the used ring without moving the index, at `ahead` places after it.
  void fill(uint32_t id, uint32_t length, uint16_t ahead = 0) {
    const size_t at = 4 + 8 * (static_cast<uint16_t>(used_index_ + ahead) % size_);
    write_raw<uint32_t>(used_, at, id);
    write_raw<uint32_t>(used_, at + 4, length);
  }
  void publish(uint16_t count) { set_used_index(static_cast<uint16_t>(used_index_ + count)); }
  void complete(uint32_t id, uint32_t length) {
    fill(id, length);
    publish(1);
  }
  uint16_t used_index() const { return used_index_; }
  // Also for indexes that make no sense.
  void set_used_index(uint16_t index) {
    used_index_ = index;
    write_raw<uint16_t>(used_, 2, index);
  }
  void set_used_flags(uint16_t flags) { write_raw<uint16_t>(used_, 0, flags); }
  void set_avail_event(uint16_t index) { write_raw<uint16_t>(used_, 4 + 8 * size_, index); }
  // "Tell me about everything from here on", as a device does before it sleeps.
  void want_notification() { set_avail_event(next_); }
  uint16_t next() const { return next_; }

  // True if an interrupt is due for having moved the used index from `before` to now (2.6.7.2).
  bool interrupt_due(uint16_t before) const {
    return static_cast<uint16_t>(used_index_ - used_event() - 1) <
           static_cast<uint16_t>(used_index_ - before);
  }

  void* host(uint64_t address) const { return to_host_(address); }

private:
  void walk(const void* table, uint32_t entries, uint32_t at, request& r, bool may_indirect) {
    for (uint32_t steps = 0;; ++steps) {
      if (steps == entries || at >= entries)
        throw driver_error("descriptor chain leaves its table or loops");
      const auto address = read_raw<uint64_t>(table, 16 * at);
      const auto length = read_raw<uint32_t>(table, 16 * at + 8);
      const auto flags = read_raw<uint16_t>(table, 16 * at + 12);
      const auto next = read_raw<uint16_t>(table, 16 * at + 14);
      if (flags & 4) {
        if (!may_indirect || (flags & 1) || length % 16 || length == 0)
          throw driver_error("bad indirect descriptor");
        r.indirect = true;
        walk(to_host_(address), length / 16, 0, r, false);
        return;
      }
      if (length == 0)
        throw driver_error("empty buffer");
      r.pieces.push_back({address, length, (flags & 2) != 0});
      if (!(flags & 1))
        return;
      at = next;
    }
  }

  void* descriptors_;
  void* available_;
  void* used_;
  uint16_t size_;
  void* (*to_host_)(uint64_t);
  uint16_t next_ = 0;
  uint16_t used_index_ = 0;
};

} // namespace fake
