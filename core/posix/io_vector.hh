// An application's iovec array as io_buffers: the checked copy lies on the kernel stack where it is
// short, else on the kernel heap.
#pragma once

#include "core/mem/app_memory.hh"
#include "core/mem/heap.hh"
#include <sys/uio.h>

namespace oblako::posix {

// What Linux transfers at most in one call.
constexpr size_t max_transfer = mem::io_buffers::max_total;
constexpr size_t max_vectors = 1024;

class io_vector : noncopyable {
public:
  ~io_vector() { mem::release(heap_); }
  // Errors: inval (count negative or over 1024, or a total over SSIZE_MAX), fault, nomem.
  result<mem::io_buffers> load(const iovec* app_iov, long count) {
    if (count < 0 || static_cast<size_t>(count) > max_vectors)
      return error::inval;
    iovec* storage = inline_;
    if (static_cast<size_t>(count) > inline_count) {
      heap_ = mem::allocate(static_cast<size_t>(count) * sizeof(iovec));
      if (!heap_)
        return error::nomem;
      storage = static_cast<iovec*>(heap_);
    }
    auto buffers = mem::io_buffers::app_vector(app_iov, static_cast<size_t>(count), storage);
    if (buffers.ok() && buffers->remaining() > max_transfer)
      buffers->truncate(max_transfer);
    return buffers;
  }

private:
  static constexpr size_t inline_count = 8;
  iovec inline_[inline_count];
  void* heap_ = nullptr;
};

} // namespace oblako::posix
