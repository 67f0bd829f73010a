// The split ring itself. Every access to memory shared with the device is in this file and its
// header.
#include "drivers/virtio/virtqueue.hh"
#include "core/log/log.hh"
#include "core/mem/heap.hh"
#include "drivers/virtio/dma.hh"
#include <string.h>

namespace oblako::virtio {

namespace {

// Spec 2.6.7.2: an index update from `old_index` to `new_index` passed the event.
bool passed(uint16_t event, uint16_t new_index, uint16_t old_index) {
  return static_cast<uint16_t>(new_index - event - 1) <
         static_cast<uint16_t>(new_index - old_index);
}

} // namespace

chain::~chain() {
  if (!queue_)
    return;
  mem::release(table_);
  queue_->release_descriptors(head_, table_ ? 1 : reserved_);
}

void chain::add(device_addr address, uint32_t length, uint16_t flags) {
  OBLAKO_ASSERT(filled_ < reserved_);
  spec::descriptor* all = table_ ? table_ : queue_->memory_.descriptors;
  spec::descriptor& d = all[next_];
  next_ = table_ ? static_cast<uint16_t>(next_ + 1) : queue_->memory_.records[next_].next;
  ++filled_;
  const bool last = filled_ == reserved_;
  d.address = raw(address);
  d.length = length;
  d.flags = static_cast<uint16_t>(flags | (last ? 0 : spec::descriptor_next));
  d.next = last ? 0 : next_;
}

virtqueue::virtqueue(const ring_memory& memory, uint16_t size, queue_features features)
    : memory_(memory), size_(size), features_(features) {
  restart();
}

void virtqueue::restart() {
  OBLAKO_ASSERT(in_flight_ == 0);
  memset(memory_.descriptors, 0, spec::descriptor_table_bytes(size_));
  memset(memory_.available, 0, spec::available_ring_bytes(size_));
  memset(memory_.used, 0, spec::used_ring_bytes(size_));
  for (uint16_t i = 0; i < size_; ++i)
    memory_.records[i] = {nullptr, nullptr, 0, static_cast<uint16_t>(i + 1), 0};
  broken_ = false;
  free_head_ = 0;
  free_count_ = size_;
  available_index_ = notified_index_ = used_index_ = used_seen_ = 0;
}

result<chain> virtqueue::begin(uint16_t buffers) {
  if (broken_)
    return error::io;
  if (buffers == 0 || buffers > size_)
    return error::inval;
  spec::descriptor* table = nullptr;
  if (features_.indirect && buffers > direct_limit && free_count_ != 0)
    // Without memory for the table the ring's own descriptors do.
    table = static_cast<spec::descriptor*>(mem::allocate(buffers * sizeof(spec::descriptor)));
  const uint16_t taken = table ? 1 : buffers;
  if (taken > free_count_)
    return error::again;
  const uint16_t head = free_head_;
  for (uint16_t i = 0; i < taken; ++i)
    free_head_ = memory_.records[free_head_].next;
  free_count_ = static_cast<uint16_t>(free_count_ - taken);
  return chain(*this, table, head, buffers);
}

void virtqueue::submit(chain&& c, void* cookie) {
  chain_record& record = memory_.records[c.head_];
  // A chain that reserved more than it was given ends early.
  if (c.filled_ != c.reserved_) {
    // Nothing in it at all is the caller's mistake; the descriptors go back with the chain.
    if (c.filled_ == 0)
      return;
    spec::descriptor* all = c.table_ ? c.table_ : memory_.descriptors;
    uint16_t last = c.table_ ? static_cast<uint16_t>(c.filled_ - 1) : c.head_;
    if (!c.table_) {
      for (uint16_t i = 1; i < c.filled_; ++i)
        last = memory_.records[last].next;
      release_descriptors(c.next_, static_cast<uint16_t>(c.reserved_ - c.filled_));
    }
    all[last].flags = static_cast<uint16_t>(all[last].flags & ~spec::descriptor_next);
  }
  record.cookie = cookie;
  record.indirect = c.table_;
  record.writable_bytes = c.writable_;
  record.count = c.table_ ? 1 : c.filled_;
  if (c.table_) {
    spec::descriptor& d = memory_.descriptors[c.head_];
    d.address = raw(to_device(c.table_));
    d.length = static_cast<uint32_t>(c.filled_ * sizeof(spec::descriptor));
    d.flags = spec::descriptor_indirect;
    d.next = 0;
  }
  c.queue_ = nullptr;
  publish(c.head_);
}

// Looks at the device's index. True: there is more to take.
bool virtqueue::look_for_used() {
  if (broken_)
    return false;
  // acquire: pairs with the device's ordering of used entries before the index (2.6.8.2).
  used_seen_ = load_acquire(memory_.used->index);
  const auto completed = static_cast<uint16_t>(used_seen_ - used_index_);
  if (completed <= in_flight_)
    return completed != 0;
  used_seen_ = used_index_;
  broken_ = true;
  return false;
}

bool virtqueue::take_abandoned(completion& out) {
  for (uint16_t i = 0; in_flight_ != 0 && i < size_; ++i) {
    if (memory_.records[i].count == 0)
      continue;
    complete(i, 0, out);
    return true;
  }
  return false;
}

bool virtqueue::has_completed() const {
  return !broken_ && load_acquire(memory_.used->index) != used_index_;
}

void virtqueue::notify() {
  if (broken_ || available_index_ == notified_index_)
    return;
  // seq_cst: our index is out before we read what the device wants; it does the two the other way
  // round, so at least one side sees the other (2.6.13.4.1).
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  const bool wanted =
      features_.event_index
          ? passed(avail_event(), available_index_, notified_index_)
          : !(*const_cast<const volatile uint16_t*>(&memory_.used->flags) & spec::used_no_notify);
  notified_index_ = available_index_;
  if (wanted)
    doorbell_.ring();
}

void virtqueue::notify_always() {
  if (broken_)
    return;
  notified_index_ = available_index_;
  // x86 keeps stores in order, the uncached doorbell included; the compiler has to as well.
  __atomic_thread_fence(__ATOMIC_RELEASE);
  doorbell_.ring();
}

uint16_t virtqueue::available_to_device() const {
  const auto left = static_cast<uint16_t>(available_index_ - load_acquire(memory_.used->index));
  // A lying device is found out in take_completed(); here it only makes us notify.
  return left > size_ ? uint16_t{0} : left;
}

bool virtqueue::enable_interrupts() {
  if (broken_)
    return true;
  if (features_.event_index)
    used_event() = used_index_;
  else
    *const_cast<volatile uint16_t*>(&memory_.available->flags) = 0;
  // seq_cst: the request is out before we look; a completion after the look interrupts.
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  return load_acquire(memory_.used->index) == used_index_;
}

void virtqueue::disable_interrupts() {
  // With the event index the flag is ignored (2.6.7): ask for an event 65,535 completions away.
  if (features_.event_index)
    used_event() = static_cast<uint16_t>(used_index_ - 1);
  else
    *const_cast<volatile uint16_t*>(&memory_.available->flags) = spec::available_no_interrupt;
}

} // namespace oblako::virtio
