// The only way the kernel touches memory the application points at. Every access here is marked in
// the exception table: a fault that cannot be served makes the call return error::fault instead
// of bringing the kernel down. The pages may have to be brought in, so no spinlock is held across
// any of these calls (a sleeping mutex may be).
#pragma once

#include "arch/x64/app_access.hh"
#include "core/base/result.hh"
#include "core/base/types.hh"
#include <stdint.h>

struct iovec;

namespace oblako::mem {

// The application's range is [app_range_start, app_range_end).
constexpr uintptr_t app_range_start = 0x10000;
constexpr uintptr_t app_range_end = 0x0000700000000000;

// True if [p, p+n) lies in the application's range (says nothing about being mapped).
constexpr bool in_app_range(uintptr_t p, size_t n) {
  return p >= app_range_start && p <= app_range_end && n <= app_range_end - p;
}

// Errors: fault (out of the application's range, unmapped, or wrong permission).
inline result<void> copy_from_app(void* to, const void* app_from, size_t bytes) {
  if (!in_app_range(reinterpret_cast<uintptr_t>(app_from), bytes)) [[unlikely]]
    return bytes ? result<void>(error::fault) : result<void>();
  if (app_access_copy(to, app_from, bytes)) [[unlikely]]
    return error::fault;
  return {};
}
inline result<void> copy_to_app(void* app_to, const void* from, size_t bytes) {
  if (!in_app_range(reinterpret_cast<uintptr_t>(app_to), bytes)) [[unlikely]]
    return bytes ? result<void>(error::fault) : result<void>();
  if (app_access_copy(app_to, from, bytes)) [[unlikely]]
    return error::fault;
  return {};
}
result<void> zero_app(void* app_to, size_t bytes);
// Copies a zero-terminated string; returns its length without the terminator.
// Errors: fault; nametoolong if there is no terminator within `size` bytes.
result<size_t> string_from_app(char* to, size_t size, const char* app_from);

template <class T>
result<T> read_app(const T* app) {
  T value;
  auto r = copy_from_app(&value, app, sizeof(T));
  if (!r.ok())
    return r.code();
  return value;
}
template <class T>
result<void> write_app(T* app, const T& value) {
  return copy_to_app(app, &value, sizeof(T));
}

// Atomic compare and exchange. True if exchanged; else `expected` becomes what was found.
// Errors: fault (also if the address is not aligned).
result<bool> compare_exchange_app(uint32_t* app, uint32_t& expected, uint32_t desired);

// A gather/scatter list over application memory (checked) or kernel memory (trusted), consumed
// front to back. What read() and write() and their vector forms hand to a file.
class io_buffers {
public:
  static constexpr size_t max_total = 0x7ffff000; // what Linux moves at most in one call

  // One application buffer, or the first max_total bytes of it. The range is checked here; the
  // pages when they are touched.
  static result<io_buffers> app(void* base, size_t bytes) {
    if (bytes && !in_app_range(reinterpret_cast<uintptr_t>(base), bytes)) [[unlikely]]
      return error::fault;
    return kernel(base, bytes < max_total ? bytes : max_total);
  }
  // The application's iovec array. `storage` (kernel memory of the caller, `count` entries, which
  // must outlive the io_buffers) receives a checked copy. Errors: inval (count > 1024, total over
  // SSIZE_MAX), fault.
  static result<io_buffers> app_vector(const iovec* app_iov, size_t count, iovec* storage);
  // Kernel memory.
  static io_buffers kernel(void* base, size_t bytes) {
    io_buffers b;
    b.base_ = static_cast<uint8_t*>(base);
    b.length_ = b.remaining_ = bytes;
    return b;
  }

  size_t remaining() const { return remaining_; }
  // Drops everything past the first `bytes` bytes.
  void truncate(size_t bytes);
  // Kernel memory -> buffers; moves up to remaining() bytes and returns how many. Errors: fault,
  // only if nothing was moved; a fault after some bytes gives the shorter count.
  result<size_t> put(const void* from, size_t bytes) {
    if (fits_piece(bytes) && app_access_copy(base_, from, bytes) == 0) [[likely]] {
      consume(bytes);
      return bytes;
    }
    return put_pieces(from, bytes);
  }
  // Zeros -> buffers.
  result<size_t> put_zeros(size_t bytes);
  // Buffers -> kernel memory.
  result<size_t> get(void* to, size_t bytes) {
    if (fits_piece(bytes) && app_access_copy(to, base_, bytes) == 0) [[likely]] {
      consume(bytes);
      return bytes;
    }
    return get_pieces(to, bytes);
  }
  // For what is of no use in part: a fault anywhere gives no count. Errors: fault.
  result<size_t> put_whole(const void* from, size_t bytes) {
    return whole(put(from, bytes), bytes);
  }
  result<size_t> get_whole(void* to, size_t bytes) { return whole(get(to, bytes), bytes); }
  // Moves ahead without copying.
  void skip(size_t bytes);

private:
  io_buffers() = default;
  static result<size_t> whole(result<size_t> moved, size_t bytes) {
    return moved.ok() && *moved == bytes ? bytes : result<size_t>(error::fault);
  }
  size_t piece();
  bool fits_piece(size_t bytes) const { return bytes <= length_ && bytes <= remaining_; }
  void consume(size_t bytes) {
    base_ += bytes;
    length_ -= bytes;
    remaining_ -= bytes;
  }
  // After a fault on the short way these find out how far it goes.
  result<size_t> put_pieces(const void* from, size_t bytes);
  result<size_t> get_pieces(void* to, size_t bytes);
  template <class Access>
  result<size_t> transfer(size_t bytes, Access access);

  iovec* vector_ = nullptr; // nullptr: only the single buffer below
  size_t count_ = 0;        // entries of vector_ not begun yet
  uint8_t* base_ = nullptr;
  size_t length_ = 0;
  size_t remaining_ = 0;
};

} // namespace oblako::mem
