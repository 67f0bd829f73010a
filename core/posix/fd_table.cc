// The descriptor table's slow paths: finding free numbers, growing, closing. No file types here.
#include "core/posix/fd_table.hh"
#include "core/posix/file.hh"
#include "core/posix/file_locks.hh"

namespace oblako::posix {

namespace {
file* initial_slots[fd_table::initial_size];
uint64_t initial_bits[fd_table::bitmap_words(fd_table::initial_size)];

using guard = sched::lock_guard<sched::spinlock>;

constexpr uint64_t bit(uint32_t n) {
  return uint64_t{1} << (n % 64);
}
} // namespace

constinit fd_table descriptors(initial_slots, initial_bits);

bool fd_table::valid(int fd) {
  guard g(lock_);
  return static_cast<unsigned>(fd) < size_ && slots_[fd];
}

// The lowest free number >= from; size_ if all present numbers are taken. Lock held.
uint32_t fd_table::lowest_free(uint32_t from) {
  const uint32_t words = size_ / 64;
  uint32_t word = from / 64;
  if (word >= words)
    return from;
  if (const uint64_t free = ~used()[word] & ~(bit(from) - 1))
    return word * 64 + static_cast<uint32_t>(__builtin_ctzll(free));
  for (++word; word < words;) {
    const uint64_t candidates = ~full()[word / 64] & ~(bit(word) - 1);
    if (!candidates) {
      word = (word / 64 + 1) * 64;
      continue;
    }
    word = word / 64 * 64 + static_cast<uint32_t>(__builtin_ctzll(candidates));
    if (word >= words)
      break;
    return word * 64 + static_cast<uint32_t>(__builtin_ctzll(~used()[word]));
  }
  return size_;
}

void fd_table::put(uint32_t fd, file* f, bool close_on_exec) {
  slots_[fd] = f;
  __atomic_fetch_add(&f->descriptors_, 1, __ATOMIC_SEQ_CST);
  used()[fd / 64] |= bit(fd);
  if (used()[fd / 64] == ~uint64_t{0})
    full()[fd / 64 / 64] |= bit(fd / 64);
  if (close_on_exec)
    cloexec()[fd / 64] |= bit(fd);
  else
    cloexec()[fd / 64] &= ~bit(fd);
}

void fd_table::mark_free(uint32_t fd) {
  slots_[fd] = nullptr;
  used()[fd / 64] &= ~bit(fd);
  cloexec()[fd / 64] &= ~bit(fd);
  full()[fd / 64 / 64] &= ~bit(fd / 64);
}

// Doubles the table until it holds `number`. The allocation is made without the lock; whoever
// finds that another thread was faster throws its own away.
result<void> fd_table::grow_to_hold(uint32_t number) {
  uint32_t size = initial_size;
  while (size <= number)
    size *= 2;
  const size_t slot_bytes = size * sizeof(file*), bit_bytes = bitmap_words(size) * 8;
  auto* memory = static_cast<uint8_t*>(mem::allocate_buffer_zeroed(slot_bytes + bit_bytes));
  if (!memory)
    return error::nomem;
  void* discard = memory;
  {
    guard g(lock_);
    if (size > size_) {
      auto* slots = reinterpret_cast<file**>(memory);
      auto* bits = reinterpret_cast<uint64_t*>(memory + slot_bytes);
      const uint32_t old_words = size_ / 64;
      __builtin_memcpy(slots, slots_, size_ * sizeof(file*));
      __builtin_memcpy(bits, used(), old_words * 8);
      __builtin_memcpy(bits + size / 64, cloexec(), old_words * 8);
      __builtin_memcpy(bits + 2 * (size / 64), full(), (old_words + 63) / 64 * 8);
      discard = slots_ == initial_slots ? nullptr : slots_;
      slots_ = slots;
      bits_ = bits;
      size_ = size;
    }
  }
  mem::release(discard);
  return {};
}

result<int> fd_table::install(file* f, bool close_on_exec, uint32_t from) {
  const uint32_t limit = this->limit();
  if (from >= limit)
    return from == 0 ? error::mfile : error::inval;
  for (;;) {
    uint32_t fd;
    {
      guard g(lock_);
      fd = lowest_free(from);
      if (fd >= limit)
        return error::mfile;
      if (fd < size_) {
        put(fd, f, close_on_exec);
        return static_cast<int>(fd);
      }
    }
    TRY(grow_to_hold(fd));
  }
}

result<file*> fd_table::replace(int number, file* f, bool close_on_exec) {
  const auto fd = static_cast<uint32_t>(number);
  if (fd >= limit())
    return error::badf;
  for (;;) {
    {
      guard g(lock_);
      if (fd < size_) {
        file* old = slots_[fd];
        put(fd, f, close_on_exec);
        return old;
      }
    }
    TRY(grow_to_hold(fd));
  }
}

file* fd_table::remove(int fd) {
  guard g(lock_);
  file* f = static_cast<unsigned>(fd) < size_ ? slots_[fd] : nullptr;
  if (f)
    mark_free(static_cast<uint32_t>(fd));
  return f;
}

void fd_table::dropped(file* f) {
  // seq_cst: pairs with has_descriptors(); a watcher that links itself at the same time either is
  // seen here or sees that the file is closed.
  if (__atomic_sub_fetch(&f->descriptors_, 1, __ATOMIC_SEQ_CST) == 0) {
    if (drop_description_locks)
      drop_description_locks(*f);
    f->closed();
    if (close_watcher* w = __atomic_load_n(&f->watchers_, __ATOMIC_SEQ_CST))
      w->closed(*f);
  }
  f->drop_reference();
}

void fd_table::held(file* f) {
  f->add_reference();
  __atomic_fetch_add(&f->descriptors_, 1, __ATOMIC_SEQ_CST);
}

int fd_table::next_used(uint32_t from, uint32_t last) {
  guard g(lock_);
  for (uint32_t word = from / 64; word < size_ / 64; ++word) {
    uint64_t bits = used()[word];
    if (word == from / 64)
      bits &= ~(bit(from) - 1);
    if (!bits)
      continue;
    const uint32_t fd = word * 64 + static_cast<uint32_t>(__builtin_ctzll(bits));
    return fd <= last ? static_cast<int>(fd) : -1;
  }
  return -1;
}

bool fd_table::close_on_exec(int fd) {
  guard g(lock_);
  const auto n = static_cast<uint32_t>(fd);
  return n < size_ && (cloexec()[n / 64] & bit(n));
}

void fd_table::set_close_on_exec(int fd, bool on) {
  guard g(lock_);
  const auto n = static_cast<uint32_t>(fd);
  if (n >= size_)
    return;
  if (on)
    cloexec()[n / 64] |= bit(n);
  else
    cloexec()[n / 64] &= ~bit(n);
}

} // namespace oblako::posix
