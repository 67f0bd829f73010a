// Setting, splitting and merging of locked ranges. Each call costs the logarithm of their number
// and what it removes.
#include "core/posix/range_locks.hh"
#include "core/sched/cpu_state.hh"

namespace oblako::posix {

range_locks::~range_locks() {
  while (!ranges_.empty()) {
    erase(ranges_.begin());
    sched::yield_if_needed();
  }
}

range_locks::range_set::const_iterator range_locks::reaching(uint64_t byte) const {
  auto i = ranges_.upper_bound(byte);
  if (i != ranges_.begin()) {
    auto before = i;
    if ((--before)->range.last >= byte)
      return before;
  }
  return i;
}

range_locks::range_set::iterator range_locks::erase(range_set::iterator i) {
  locked_range* l = &*i;
  exclusive_ -= l->kind == lock_kind::exclusive;
  auto next = ranges_.erase(i);
  mem::unique<locked_range> last(l);
  return next;
}

const locked_range* range_locks::conflict(byte_range r, lock_kind wanted) const {
  if (wanted == lock_kind::shared && exclusive_ == 0)
    return nullptr;
  for (auto i = reaching(r.first); i != ranges_.end() && i->range.first <= r.last; ++i)
    if (wanted == lock_kind::exclusive || i->kind == lock_kind::exclusive)
      return &*i;
  return nullptr;
}

// Extends `r` over what is of the same kind and overlaps or touches it at either end.
void range_locks::absorb_neighbours(byte_range& r, lock_kind kind) {
  const byte_range asked = r;
  auto first = reaching(asked.first ? asked.first - 1 : 0);
  if (first != ranges_.end() && first->kind == kind && first->range.first < asked.first)
    r.first = first->range.first;
  auto last = reaching(asked.last < byte_range::last_byte ? asked.last + 1 : asked.last);
  if (last != ranges_.end() && last->kind == kind && last->range.first <= asked.last + 1 &&
      last->range.last > asked.last)
    r.last = last->range.last;
}

// Removes what lies within `r`, and cuts what reaches beyond it.
void range_locks::clear(byte_range r, mem::unique<locked_range>& for_split) {
  const auto found = reaching(r.first);
  auto i = found == ranges_.end() ? ranges_.end()
                                  : ranges_.iterator_to(const_cast<locked_range&>(*found));
  while (i != ranges_.end() && i->range.first <= r.last) {
    const byte_range old = i->range;
    if (old.first >= r.first && old.last <= r.last) {
      i = erase(i);
      sched::yield_if_needed();
      continue;
    }
    if (old.last > r.last && old.first < r.first) {
      locked_range* behind = for_split.release();
      behind->range = {r.last + 1, old.last};
      behind->kind = i->kind;
      exclusive_ += i->kind == lock_kind::exclusive;
      i->range.last = r.first - 1;
      ranges_.insert(*behind);
      return;
    }
    if (old.first < r.first)
      i->range.last = r.first - 1;
    else
      i->range.first = r.last + 1; // the order stays: nothing lies in between
    ++i;
  }
}

result<void> range_locks::set(byte_range r, lock_kind kind) {
  // Memory first, so that a failure changes nothing. Unlocking needs some only in the middle of a
  // range: giving everything back always succeeds.
  mem::unique<locked_range> added, for_split;
  const auto around = reaching(r.first);
  if (around != ranges_.end() && around->range.first < r.first && around->range.last > r.last) {
    if (around->kind == kind)
      return {};
    auto made = mem::make<locked_range>(r, kind);
    if (!made.ok())
      return error::nolck;
    for_split = made.take();
  }
  if (kind != lock_kind::none) {
    auto made = mem::make<locked_range>(r, kind);
    if (!made.ok())
      return error::nolck;
    added = made.take();
    absorb_neighbours(added->range, kind);
    r = added->range;
  }
  clear(r, for_split);
  if (added) {
    exclusive_ += kind == lock_kind::exclusive;
    ranges_.insert(*added.release());
  }
  return {};
}

} // namespace oblako::posix
