#include "core/mem/buffer_account.hh"

namespace oblako::mem {

buffer_account buffers;

namespace {

// Of what is left, no queue may hold more than this part.
constexpr unsigned share_part = 4;
// Page frames beyond the reserve: memory is short below the first part of memory, and below the
// second there is nothing left for buffers.
constexpr unsigned short_part = 32, last_part = 128;

uint64_t beyond(uint64_t value, uint64_t mark) {
  return value > mark ? value - mark : 0;
}

// Where `value` lies on the way from `begin`, where memory begins to be short, to `end`.
unsigned degree(uint64_t value, uint64_t begin, uint64_t end) {
  constexpr unsigned most = buffer_account::most_short;
  if (value >= end)
    return most;
  return value < begin ? 0
                       : 1 + static_cast<unsigned>((value - begin) * (most - 1) / (end - begin));
}

uint64_t frames_free() {
  return __atomic_load_n(&frame_counts.free, __ATOMIC_RELAXED); // a hint
}

} // namespace

void buffer_account::set_memory(uint64_t pages) {
  pressure_ = pages * page_size / 8;
  frames_wanted_ = frame_counts.reserve + pages / short_part;
  frames_kept_ = frame_counts.reserve + pages / last_part;
}

unsigned buffer_account::shortage() const {
  if (!is_short()) [[likely]]
    return 0;
  const uint64_t total = frame_counts.total, used = beyond(total, frames_free());
  return max_of(degree(held(), pressure_, limit()),
                degree(used, beyond(total, frames_wanted_), beyond(total, frames_kept_)));
}

size_t buffer_account::share(size_t least) const {
  const uint64_t left = beyond(pressure_, held());
  const uint64_t frames = beyond(frames_free(), frames_kept_) * page_size;
  return max_of(static_cast<size_t>(min_of(left, frames) / share_part), least);
}

} // namespace oblako::mem
