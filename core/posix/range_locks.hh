// Byte ranges that one owner has locked in one file: disjoint, ordered, and merged where two of
// the same kind touch. Who waits for whom is in file_locks.cc.
#pragma once

#include "core/base/result.hh"
#include "core/mem/heap.hh"
#include <boost/intrusive/set.hpp>

namespace oblako::posix {

enum class lock_kind : uint8_t { none, shared, exclusive };

// First and last byte; `last` is last_byte for "to the end of the file, however long it becomes".
struct byte_range {
  static constexpr uint64_t last_byte = INT64_MAX;
  uint64_t first, last;
  bool overlaps(const byte_range& other) const {
    return first <= other.last && other.first <= last;
  }
};

struct locked_range : boost::intrusive::set_base_hook<> {
  using counts_as_buffer = void; // a program can make any number of them
  locked_range(byte_range r, lock_kind k) : range(r), kind(k) {}
  byte_range range;
  lock_kind kind;
};

class range_locks : noncopyable {
public:
  range_locks() = default;
  ~range_locks();
  // Makes all of `r` be of that kind, or free (lock_kind::none).
  // Errors: nolck (out of memory), and nothing has changed. Context: thread, may yield.
  result<void> set(byte_range r, lock_kind kind);
  // The first range that stands against a lock of that kind by somebody else; nullptr if none.
  const locked_range* conflict(byte_range r, lock_kind wanted) const;
  bool empty() const { return ranges_.empty(); }

private:
  struct first_of {
    using type = uint64_t;
    type operator()(const locked_range& l) const { return l.range.first; }
  };
  using range_set = boost::intrusive::set<locked_range, boost::intrusive::key_of_value<first_of>,
                                          boost::intrusive::constant_time_size<false>>;
  // The first range that ends at `byte` or behind it.
  range_set::const_iterator reaching(uint64_t byte) const;
  range_set::iterator erase(range_set::iterator i);
  void absorb_neighbours(byte_range& r, lock_kind kind);
  void clear(byte_range r, mem::unique<locked_range>& for_split);

  range_set ranges_;
  uint32_t exclusive_ = 0; // how many of them
};

} // namespace oblako::posix
