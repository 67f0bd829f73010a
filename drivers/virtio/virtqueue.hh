// A split virtqueue: descriptors are handed to the device as chains, and come back through the
// used ring. Knows rings, not transports: it is given memory and a doorbell.
//
// Everything the device writes is checked once, here. What cannot be true (an index that jumps, an
// id that was not handed out, more bytes than the buffers hold) marks the queue broken: from then
// on it returns error::io and touches nothing.
//
// Not locked: one thread at a time, except disable_interrupts(), which an interrupt handler may
// call as well.
// Spec: virtio 1.1, 2.6.
#pragma once

#include "core/base/result.hh"
#include "core/base/types.hh"
#include "core/mem/heap.hh"
#include "drivers/virtio/spec.hh"
#include <utility>

namespace oblako::virtio {

class virtqueue;

// Where a driver tells the device about new buffers: the queue's index is stored there.
struct doorbell {
  volatile void* address = nullptr;
  uint16_t value = 0;
  bool wide = false; // 32-bit register (MMIO transport), else 16-bit (PCI)

  void ring() const {
    if (wide)
      *static_cast<volatile uint32_t*>(address) = value;
    else
      *static_cast<volatile uint16_t*>(address) = value;
  }
};

// Descriptors taken from a queue and not yet given to the device. Ends in virtqueue::submit(), or
// returns them when it goes out of scope. Readable buffers come before writable ones (2.6.4.2).
class chain : noncopyable {
public:
  chain(chain&& o) noexcept
      : queue_(std::exchange(o.queue_, nullptr)), table_(o.table_), head_(o.head_), next_(o.next_),
        filled_(o.filled_), reserved_(o.reserved_), writable_(o.writable_) {}
  chain& operator=(chain&&) = delete;
  ~chain();

  // At most as many as were asked for in begin().
  void add_readable(device_addr address, uint32_t length) { add(address, length, 0); }
  void add_writable(device_addr address, uint32_t length) {
    writable_ += length;
    add(address, length, spec::descriptor_write);
  }

private:
  friend class virtqueue;
  chain(virtqueue& q, spec::descriptor* table, uint16_t head, uint16_t reserved)
      : queue_(&q), table_(table), head_(head), next_(table ? 0 : head), reserved_(reserved) {}
  void add(device_addr address, uint32_t length, uint16_t flags);

  virtqueue* queue_;
  spec::descriptor* table_; // indirect; nullptr: descriptors of the ring itself
  uint16_t head_;
  uint16_t next_; // where the next buffer goes
  uint16_t filled_ = 0;
  uint16_t reserved_;
  uint32_t writable_ = 0;
};

// One buffer of a chain that is handed over in one go.
struct chain_buffer {
  device_addr address;
  uint32_t length;
  bool writable; // by the device
};

// What a driver keeps about a chain in flight; the device never sees it.
struct chain_record {
  void* cookie;
  spec::descriptor* indirect;
  uint32_t writable_bytes;
  uint16_t next;  // next descriptor of the chain or of the free list
  uint16_t count; // descriptors of the ring it takes; 0: not the head of a chain in flight
};

struct ring_memory {
  spec::descriptor* descriptors;
  spec::available_ring* available;
  spec::used_ring* used;
  chain_record* records; // `size` of them
};

struct queue_features {
  bool event_index = false;
  bool indirect = false;
};

struct completion {
  void* cookie;
  uint32_t written; // bytes; never more than the chain's writable ones
};

class virtqueue : noncopyable {
public:
  // The ring memory is zeroed by the constructor. `size`: power of two, at most 32768.
  virtqueue(const ring_memory& memory, uint16_t size, queue_features features);
  void set_doorbell(const doorbell& d) { doorbell_ = d; }

  uint16_t size() const { return size_; }
  uint16_t free_descriptors() const { return free_count_; }
  uint16_t in_flight() const { return in_flight_; } // chains
  bool broken() const { return broken_; }
  // For errors found above the ring (a length that makes no sense, device needs reset).
  void mark_broken() { broken_ = true; }

  // Reserves descriptors for `buffers` buffers. Many buffers go into an indirect table, which takes
  // one. Errors: again (not enough free), io (broken), inval (0, or more than the queue's size).
  result<chain> begin(uint16_t buffers);
  // Hands the chain to the device. `cookie` (not nullptr) comes back with its completion.
  void submit(chain&& c, void* cookie);

  // begin(), add and submit() in one, for a short chain in the ring's own descriptors: what every
  // packet takes. buffer(i) gives the chain_buffer i of `count`, 1 to direct_limit. Errors: again,
  // io.
  template <class Buffers>
  result<void> submit_short(uint16_t count, Buffers buffer, void* cookie);
  // The same for a single buffer.
  result<void> submit_one(const chain_buffer& b, void* cookie);
  // Up to here a chain uses the ring's own descriptors: the device reads them with less effort than
  // an indirect table.
  static constexpr uint16_t direct_limit = 4;

  // The next chain the device is done with. False: none, or the queue is broken.
  bool take_completed(completion& out);
  // Takes back chains the device never finished, after a reset. False: no more.
  bool take_abandoned(completion& out);
  // As new, for a device that has been reset. Everything has been taken back.
  void restart();
  const ring_memory& memory() const { return memory_; }
  bool has_completed() const;

  // Tells the device about what was submitted since the last call, if it wants to know.
  void notify();
  // Tells it in any case.
  void notify_always();
  // Buffers the device has not used yet, as it sees them itself.
  uint16_t available_to_device() const;

  // Interrupts are on to begin with. enable returns false if something completed meanwhile.
  bool enable_interrupts();
  void disable_interrupts();

private:
  friend class chain;
  volatile uint16_t& used_event() const { return memory_.available->ring[size_]; }
  const volatile uint16_t& avail_event() const {
    const char* end = reinterpret_cast<const char*>(memory_.used) + 4 + 8 * size_t{size_};
    return *reinterpret_cast<const volatile uint16_t*>(end);
  }
  static uint16_t load_acquire(const uint16_t& v) { return __atomic_load_n(&v, __ATOMIC_ACQUIRE); }
  bool look_for_used();
  void release_descriptors(uint16_t head, uint16_t count);
  void publish(uint16_t head);
  void complete(uint16_t head, uint32_t written, completion& out);

  ring_memory memory_;
  doorbell doorbell_;
  const uint16_t size_;
  const queue_features features_;
  bool broken_ = false;
  uint16_t free_head_ = 0;
  uint16_t free_count_ = 0;
  uint16_t in_flight_ = 0;
  uint16_t available_index_ = 0; // next to fill; what was published last
  uint16_t notified_index_ = 0;  // available_index_ at the last notify
  uint16_t used_index_ = 0;      // next to take
  uint16_t used_seen_ = 0;       // the device's index when last looked at, checked
};

template <class Buffers>
inline result<void> virtqueue::submit_short(uint16_t count, Buffers buffer, void* cookie) {
  if (broken_) [[unlikely]]
    return error::io;
  if (count > free_count_) [[unlikely]]
    return error::again;
  const uint16_t head = free_head_;
  uint16_t at = head;
  uint32_t writable = 0;
  for (uint16_t i = 0; i < count; ++i) {
    const chain_buffer b = buffer(i);
    const bool last = i + 1 == count;
    spec::descriptor& d = memory_.descriptors[at];
    at = memory_.records[at].next;
    d.address = raw(b.address);
    d.length = b.length;
    d.flags = static_cast<uint16_t>((last ? 0 : spec::descriptor_next) |
                                    (b.writable ? spec::descriptor_write : 0));
    d.next = last ? 0 : at;
    writable += b.writable ? b.length : 0;
  }
  free_head_ = at;
  free_count_ = static_cast<uint16_t>(free_count_ - count);
  memory_.records[head] = {cookie, nullptr, writable, memory_.records[head].next, count};
  publish(head);
  return {};
}

inline result<void> virtqueue::submit_one(const chain_buffer& b, void* cookie) {
  if (broken_) [[unlikely]]
    return error::io;
  if (free_count_ == 0) [[unlikely]]
    return error::again;
  const uint16_t head = free_head_;
  spec::descriptor& d = memory_.descriptors[head];
  d.address = raw(b.address);
  d.length = b.length;
  d.flags = b.writable ? spec::descriptor_write : 0;
  d.next = 0;
  chain_record& record = memory_.records[head];
  free_head_ = record.next;
  --free_count_;
  record.cookie = cookie;
  record.indirect = nullptr;
  record.writable_bytes = b.writable ? b.length : 0;
  record.count = 1;
  publish(head);
  return {};
}

inline void virtqueue::release_descriptors(uint16_t head, uint16_t count) {
  uint16_t last = head;
  for (uint16_t i = 1; i < count; ++i)
    last = memory_.records[last].next;
  memory_.records[last].next = free_head_;
  free_head_ = head;
  free_count_ = static_cast<uint16_t>(free_count_ + count);
}

inline void virtqueue::complete(uint16_t head, uint32_t written, completion& out) {
  chain_record& record = memory_.records[head];
  out = {record.cookie, written};
  if (record.indirect) [[unlikely]] {
    mem::release(record.indirect);
    record.indirect = nullptr;
  }
  const uint16_t count = record.count;
  record.count = 0;
  --in_flight_;
  release_descriptors(head, count);
}

inline bool virtqueue::take_completed(completion& out) {
  if (used_seen_ == used_index_ && !look_for_used())
    return false;
  // Read once: the device could change it between a check and a use.
  const volatile spec::used_element& shared = memory_.used->ring[used_index_ & (size_ - 1)];
  const uint32_t id = shared.id;
  uint32_t length = shared.length;
  if (broken_ || id >= size_ || memory_.records[id].count == 0) [[unlikely]] {
    broken_ = true;
    return false;
  }
  if (length > memory_.records[id].writable_bytes) [[unlikely]] {
    if (memory_.records[id].writable_bytes != 0) {
      broken_ = true;
      return false;
    }
    // Some devices report what they have read (Cloud Hypervisor's network); the field is about what
    // they wrote (virtio 1.2, 2.7.8).
    length = 0;
  }
  ++used_index_;
  complete(static_cast<uint16_t>(id), length, out);
  return true;
}

inline void virtqueue::publish(uint16_t head) {
  memory_.available->ring[available_index_ & (size_ - 1)] = head;
  ++available_index_;
  ++in_flight_;
  // release: the device that sees the index also sees descriptors and ring entry (2.6.13.2).
  __atomic_store_n(&memory_.available->index, available_index_, __ATOMIC_RELEASE);
}

} // namespace oblako::virtio
