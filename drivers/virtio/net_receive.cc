// Receive buffers and frames. Spec: virtio 1.1, 5.1.6.3 and 5.1.6.4.
#include "drivers/virtio/net_receive.hh"
#include "core/mem/frames.hh"
#include "drivers/virtio/dma.hh"
#include "drivers/virtio/net_spec.hh"
#include <new>

namespace oblako::virtio {

namespace {

using spec::net::header;

// Below this many buffers the device may have found a large frame not fitting and gone to wait
// (64 kB and what it has taken but not yet reported).
constexpr uint16_t large_frame_buffers = 40;
constexpr size_t fewest_buffers = 4;
// To begin with: enough for a frame of 64 kB whatever the buffers' size, with some behind it.
constexpr size_t first_target = 48;
static_assert(first_target > large_frame_buffers);
// Buffers that are taken from memory together: one search for many.
constexpr unsigned together_order = 3;
constexpr unsigned max_pieces = 1 + sizeof(net::received_frame::more) / sizeof(net::segment);

} // namespace

net_receiver::buffer* net_receiver::obtain() {
  if (free_) {
    buffer* b = free_;
    free_ = b->next;
    --free_count_;
    return b;
  }
  for (unsigned order = order_;; order = 0) {
    const size_t bytes = page_size << order;
    if (total_ + bytes > limit_)
      return nullptr;
    auto memory = mem::allocate_frames(order);
    if (memory.ok()) {
      total_ += bytes;
      return ::new (mem::to_virtual(*memory)) buffer{nullptr, 0, static_cast<uint8_t>(order)};
    }
    if (order == 0 || !mergeable_) // without merging every buffer has to hold a whole frame
      return nullptr;
  }
}

void net_receiver::keep(buffer* b) {
  b->next = free_;
  free_ = b;
  ++free_count_;
}

// Several buffers in one piece of memory, while that many are wanted and memory has such pieces.
// Each is a piece of its own afterwards.
void net_receiver::take_several(size_t wanted) {
  constexpr size_t count = size_t{1} << together_order;
  const size_t bytes = page_size << order_;
  for (; wanted >= count && total_ + count * bytes <= limit_; wanted -= count) {
    auto memory = mem::allocate_frames(order_ + together_order);
    if (!memory.ok())
      return;
    total_ += count * bytes;
    auto* start = static_cast<uint8_t*>(mem::to_virtual(*memory));
    for (size_t i = count; i-- != 0;)
      keep(::new (start + i * bytes) buffer{nullptr, 0, order_});
  }
}

void net_receiver::destroy(buffer* b) {
  total_ -= b->bytes();
  mem::free_frames(mem::to_physical(b), b->order);
}

void net_receiver::give_back(buffer* b) {
  // With enough at hand for the ring, this one was taken while the stack held others.
  if (posted_ + free_count_ >= target_ + spare_)
    return destroy(b);
  keep(b);
}

void net_receiver::drop_spare() {
  while (free_ && posted_ + free_count_ > target_) {
    buffer* b = free_;
    free_ = b->next;
    --free_count_;
    destroy(b);
  }
}

bool net_receiver::post(buffer* b) {
  const chain_buffer whole = {to_device(b->data()), static_cast<uint32_t>(room_for_data(b->order)),
                              true};
  if (!queue_.submit_one(whole, b).ok())
    return false;
  ++posted_;
  return true;
}

void net_receiver::set_target(size_t buffers) {
  target_ = buffers;
  spare_ = order_ ? target_ / 2 : 0;
}

result<void> net_receiver::start(size_t most, size_t limit) {
  most_ = min_of(most, size_t{queue_.size()});
  limit_ = max_of(limit, most_ * (page_size << order_));
  target_ = min_of(first_target, most_);
  fill();
  // With little memory the ring is as long as it went.
  if (posted_ < target_)
    most_ = posted_;
  set_target(posted_);
  return posted_ >= fewest_buffers ? result<void>{} : error::nomem;
}

void net_receiver::fill() {
  if (posted_ + free_count_ < target_)
    take_several(target_ - posted_ - free_count_);
  while (posted_ < target_) {
    buffer* b = obtain();
    if (!b)
      break;
    if (!post(b)) {
      give_back(b);
      break;
    }
  }
}

void net_receiver::refill() {
  if (posted_ >= target_ || queue_.broken())
    return;
  const uint16_t seen_by_device = queue_.available_to_device();
  const size_t before = posted_;
  if (posted_ < target_ / 2 && target_ < most_)
    set_target(min_of(target_ * 2, most_));
  fill();
  // A device that found the ring too empty may have missed, between its look and its request to be
  // told, that we refilled; the event index then keeps us silent for ever (QEMU before 9.1).
  // Telling it in any case whenever the ring had run low costs little and cannot stall.
  if (posted_ == before)
    return;
  if (seen_by_device < max_of(large_frame_buffers, static_cast<uint16_t>(target_ / 2)))
    queue_.notify_always();
  else
    queue_.notify();
}

// The device broke the rules above the ring.
void net_receiver::fail() {
  ++errors_;
  queue_.mark_broken();
}

// How many buffers the frame takes that begins with this one; 0: the device broke the rules.
unsigned net_receiver::pieces_of(buffer* b, uint32_t written) const {
  if (written < sizeof(header))
    return 0;
  const auto& h = *reinterpret_cast<const volatile header*>(b->data());
  const unsigned count = mergeable_ ? h.buffer_count : 1u;
  return count > max_pieces ? 0 : count;
}

// Adds the next buffer to the frame of several that is being put together. False: the device broke
// the rules.
bool net_receiver::add_piece(buffer* b, uint32_t written) {
  b->next = nullptr;
  b->length = written;
  if (!first_) {
    const unsigned count = pieces_of(b, written);
    if (count != 0)
      missing_ = count - 1;
    first_ = last_ = b;
    pieces_ = 1;
    held_ = static_cast<uint32_t>(b->bytes());
    return count != 0;
  }
  last_->next = b;
  last_ = b;
  ++pieces_;
  --missing_;
  held_ += static_cast<uint32_t>(b->bytes());
  return written != 0;
}

// The first piece, and what the device says of the whole.
inline void net_receiver::hand_out(net::received_frame& out, buffer* first, uint32_t written) {
  // Read once; the page is the stack's from here on.
  const uint8_t flags = reinterpret_cast<const volatile header*>(first->data())->flags;
  out.cookie = first;
  out.data = first->data() + sizeof(header);
  out.length = written - static_cast<uint32_t>(sizeof(header));
  out.checksum = flags & spec::net::header_needs_checksum ? net::checksum_state::partial
                 : flags & spec::net::header_data_valid   ? net::checksum_state::verified
                                                          : net::checksum_state::none;
  bytes_ += out.length;
  ++frames_;
}

bool net_receiver::receive(net::received_frame& out) {
  if (posted_ < target_ / 2)
    refill();
  completion done;
  while (queue_.take_completed(done)) {
    --posted_;
    auto* b = static_cast<buffer*>(done.cookie);
    if (!first_ && pieces_of(b, done.written) == 1) [[likely]] {
      b->next = nullptr;
      out.segments = 1;
      out.held = static_cast<uint32_t>(b->bytes());
      hand_out(out, b, done.written);
      return true;
    }
    if (!add_piece(b, done.written)) {
      fail();
      return false;
    }
    if (missing_ != 0)
      continue;
    hand_out(out, first_, first_->length);
    out.segments = static_cast<uint16_t>(pieces_);
    out.held = held_;
    net::segment* piece = out.more;
    for (buffer* more = first_->next; more; more = more->next) {
      *piece++ = {more->data(), more->length};
      bytes_ += more->length;
    }
    first_ = last_ = nullptr;
    return true;
  }
  return false;
}

void net_receiver::release(net::received_frame& f) {
  auto* b = static_cast<buffer*>(f.cookie);
  f.cookie = nullptr;
  while (b) {
    buffer* next = b->next;
    give_back(b);
    b = next;
  }
}

void net_receiver::take_all_back() {
  completion done;
  while (queue_.take_abandoned(done)) {
    --posted_;
    give_back(static_cast<buffer*>(done.cookie));
  }
  for (buffer* b = first_; b;) {
    buffer* next = b->next;
    give_back(b);
    b = next;
  }
  first_ = last_ = nullptr;
  missing_ = 0;
}

void net_receiver::drop_all() {
  completion done;
  while (queue_.take_abandoned(done)) {
    --posted_;
    destroy(static_cast<buffer*>(done.cookie));
  }
  target_ = spare_ = 0; // from now on give_back() returns memory to the system
  free_count_ = 0;
  for (buffer* lists[] = {first_, free_}; buffer * b : lists)
    while (b) {
      buffer* next = b->next;
      give_back(b);
      b = next;
    }
  first_ = last_ = free_ = nullptr;
}

} // namespace oblako::virtio
