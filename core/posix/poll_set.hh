// What poll and select have in common: a set of descriptors that is looked at, and waited for.
#pragma once

#include "core/posix/file.hh"
#include <sys/epoll.h>

namespace oblako::posix {

class poll_set : noncopyable {
public:
  struct entry final : sched::observer {
    entry() : observer(entry::notified) {}

    mem::ref<file> target; // null: ignored, or not open
    uint32_t wanted = 0;   // EPOLL bits
    uint32_t ready = 0;
    sched::thread_waiter* waiter = nullptr;

  private:
    static bool notified(sched::observer& o, uint32_t events);
  };

  ~poll_set();
  // Errors: nomem.
  result<void> reserve(size_t count);
  // Adds a descriptor; false if it is not open.
  bool add(int fd, uint32_t wanted);
  // A place without a file, so that the numbers of entries match the caller's.
  void add_nothing() { ++count_; }

  const entry& operator[](size_t i) const { return entries_[i]; }
  size_t size() const { return count_; }

  // Blocks until an entry is ready or the deadline has passed (0: only looks). Returns how many
  // entries are ready. Errors: intr, canceled.
  result<size_t> wait(uint64_t timeout_ns);

private:
  static constexpr size_t inline_count = 6;

  size_t look();
  result<size_t> sleep(uint64_t deadline_ns);

  entry inline_[inline_count];
  entry* entries_ = inline_;
  size_t capacity_ = inline_count;
  size_t count_ = 0;
  bool network_ = false;
};

} // namespace oblako::posix
