// Gather/scatter lists. The pieces were checked to lie in the application's range when the list was
// made (or are trusted kernel memory), so the accesses here go straight to the marked copies.
#include "arch/x64/app_access.hh"
#include "core/mem/app_memory.hh"
#include <sys/uio.h>

namespace oblako::mem {

namespace {
constexpr size_t max_vector = 1024; // IOV_MAX
} // namespace

result<io_buffers> io_buffers::app_vector(const iovec* app_iov, size_t count, iovec* storage) {
  if (count > max_vector)
    return error::inval;
  TRY(copy_from_app(storage, app_iov, count * sizeof(iovec)));
  size_t total = 0;
  for (size_t i = 0; i < count; ++i) {
    const size_t length = storage[i].iov_len;
    if (static_cast<ptrdiff_t>(length) < 0 || total + length < total)
      return error::inval;
    total += length;
    if (static_cast<ptrdiff_t>(total) < 0)
      return error::inval;
    if (length && !in_app_range(reinterpret_cast<uintptr_t>(storage[i].iov_base), length))
      return error::fault;
  }
  io_buffers b;
  b.vector_ = storage;
  b.count_ = count;
  b.remaining_ = min_of(total, max_total);
  return b;
}

void io_buffers::truncate(size_t bytes) {
  remaining_ = min_of(remaining_, bytes);
}

// The current piece: at least one byte if anything remains.
size_t io_buffers::piece() {
  while (length_ == 0 && count_ != 0) {
    base_ = static_cast<uint8_t*>(vector_->iov_base);
    length_ = vector_->iov_len;
    ++vector_;
    --count_;
  }
  return min_of(length_, remaining_);
}

template <class Access>
result<size_t> io_buffers::transfer(size_t bytes, Access access) {
  const size_t wanted = min_of(bytes, remaining_);
  size_t done = 0;
  while (done < wanted) {
    const size_t n = min_of(piece(), wanted - done);
    const size_t moved = n - access(base_, done, n);
    consume(moved);
    done += moved;
    if (moved < n) [[unlikely]] {
      if (done == 0)
        return error::fault;
      break;
    }
  }
  return done;
}

result<size_t> io_buffers::put_pieces(const void* from, size_t bytes) {
  return transfer(bytes, [from](void* at, size_t done, size_t n) {
    return app_access_copy(at, static_cast<const uint8_t*>(from) + done, n);
  });
}

result<size_t> io_buffers::put_zeros(size_t bytes) {
  return transfer(bytes, [](void* at, size_t, size_t n) { return app_access_zero(at, n); });
}

result<size_t> io_buffers::get_pieces(void* to, size_t bytes) {
  return transfer(bytes, [to](const void* at, size_t done, size_t n) {
    return app_access_copy(static_cast<uint8_t*>(to) + done, at, n);
  });
}

void io_buffers::skip(size_t bytes) {
  bytes = min_of(bytes, remaining_);
  while (bytes) {
    const size_t n = min_of(piece(), bytes);
    consume(n);
    bytes -= n;
  }
}

} // namespace oblako::mem
