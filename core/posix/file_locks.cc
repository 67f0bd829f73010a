// Which files are locked by whom, and waiting for them. One sleeping mutex guards it all: locks are
// taken seldom, and what a call does under it is bounded by the owners of one file's locks.
#include "core/posix/file_locks.hh"
#include "arch/x64/syscall_entry.hh"
#include "core/fs/node.hh"
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

extern "C" long sys_getpid();

namespace oblako::posix {

namespace {

using guard = sched::lock_guard<sched::mutex>;
using set_hook = boost::intrusive::set_base_hook<>;

// What one owner has of one file.
struct lock_holder : set_hook {
  using counts_as_buffer = void;
  explicit lock_holder(lock_owner o) : owner(o) {}
  lock_owner owner;
  range_locks ranges;
  lock_kind whole = lock_kind::none; // flock()
};

struct owner_of {
  using type = const void*;
  type operator()(const lock_holder& h) const { return h.owner.identity; }
};
using holder_set = boost::intrusive::set<lock_holder, boost::intrusive::key_of_value<owner_of>,
                                         boost::intrusive::constant_time_size<false>>;

struct locked_file : set_hook {
  using counts_as_buffer = void;
  explicit locked_file(const void* f) : identity(f) {}
  const void* identity;
  holder_set range_holders, whole_holders;
  uint32_t shared = 0, exclusive = 0; // of whole_holders
  uint32_t waiting = 0;               // threads that use this record beside its holders
  sched::wait_queue waiters;
};

struct identity_of {
  using type = const void*;
  type operator()(const locked_file& f) const { return f.identity; }
};
using locked_files = boost::intrusive::set<locked_file, boost::intrusive::key_of_value<identity_of>,
                                           boost::intrusive::constant_time_size<false>>;

// A process that waits for another's lock: on its thread's stack, and in a list.
struct process_wait {
  const void* waiting;
  const void* for_whom;
  process_wait* next;
};

sched::mutex locks_mutex; // guards everything below
process_wait* first_wait; // processes that wait now
alignas(locked_files) unsigned char files_storage[sizeof(locked_files)];
bool files_made;

locked_files& all_files() {
  if (!files_made) {
    ::new (static_cast<void*>(files_storage)) locked_files;
    files_made = true;
  }
  return *reinterpret_cast<locked_files*>(files_storage);
}

// What several descriptions of one file have in common.
const void* identity(file& f) {
  const fs::node* n = f.node();
  return n ? static_cast<const void*>(n) : &f;
}

lock_owner description(file& f) {
  return {&f, -1};
}
lock_owner process() {
  return {&descriptors, static_cast<int>(sys_getpid())};
}

locked_file* find_file(const void* identity) {
  auto i = all_files().find(identity);
  return i == all_files().end() ? nullptr : &*i;
}

result<locked_file*> file_record(const void* identity) {
  if (locked_file* f = find_file(identity))
    return f;
  auto made = mem::make<locked_file>(identity);
  if (!made.ok())
    return error::nolck;
  all_files().insert(**made);
  return made->release();
}

void forget_if_unused(locked_file& f) {
  if (!f.range_holders.empty() || !f.whole_holders.empty() || f.waiting)
    return;
  all_files().erase(all_files().iterator_to(f));
  mem::unique<locked_file> last(&f);
}

lock_holder* find_holder(holder_set& in, lock_owner o) {
  auto i = in.find(o.identity);
  return i == in.end() ? nullptr : &*i;
}

result<lock_holder*> holder_record(holder_set& in, lock_owner o) {
  if (lock_holder* h = find_holder(in, o))
    return h;
  auto made = mem::make<lock_holder>(o);
  if (!made.ok())
    return error::nolck;
  in.insert(**made);
  return made->release();
}

void forget_holder(holder_set& in, lock_holder& h) {
  in.erase(in.iterator_to(h));
  mem::unique<lock_holder> last(&h);
}

// --- ranges

struct conflicting {
  const lock_holder* holder = nullptr;
  const locked_range* range = nullptr;
};

conflicting find_conflict(locked_file& f, lock_owner o, byte_range r, lock_kind wanted) {
  conflicting found;
  if (wanted == lock_kind::none)
    return found;
  for (auto& h : f.range_holders) {
    if (h.owner.identity == o.identity)
      continue;
    const locked_range* c = h.ranges.conflict(r, wanted);
    if (c && (!found.range || c->range.first < found.range->range.first))
      found = {&h, c};
  }
  return found;
}

// True if whoever `holder` is waits, perhaps by way of others, for `self`. Bounded as Linux's
// search: what is deeper waits.
bool would_deadlock(const void* self, const void* holder) {
  for (int steps = 0; steps < 10; ++steps) {
    const process_wait* w = first_wait;
    while (w && w->waiting != holder)
      w = w->next;
    if (!w)
      return false;
    if (w->for_whom == self)
      return true;
    holder = w->for_whom;
  }
  return false;
}

// again: somebody else's lock is in the way; `in_the_way` says whose.
result<void> try_range(file& f, locked_file& l, lock_owner o, byte_range r, lock_kind kind,
                       lock_owner& in_the_way) {
  // A lock that came behind the last close() would never be given back.
  if (kind != lock_kind::none && !f.has_descriptors())
    return error::badf;
  if (const auto c = find_conflict(l, o, r, kind); c.range) {
    in_the_way = c.holder->owner;
    return error::again;
  }
  lock_holder* h = find_holder(l.range_holders, o);
  if (!h) {
    if (kind == lock_kind::none)
      return {};
    h = TRY(holder_record(l.range_holders, o));
  }
  auto done = h->ranges.set(r, kind);
  if (h->ranges.empty())
    forget_holder(l.range_holders, *h);
  if (done.ok() && kind != lock_kind::exclusive)
    l.waiters.wake_all();
  return done;
}

void end_wait(process_wait& w) {
  process_wait** link = &first_wait;
  while (*link && *link != &w)
    link = &(*link)->next;
  if (*link)
    *link = w.next;
}

// Waits until `attempt` no longer says `again`. It is called with locks_mutex held.
template <class Attempt>
result<void> repeat(locked_file& l, Attempt attempt) {
  result<void> outcome = error::again;
  auto slept = sched::wait_until(l.waiters, [&] {
    guard g(locks_mutex);
    outcome = attempt();
    return outcome.code() != error::again;
  });
  return slept.ok() ? outcome : slept;
}

result<void> lock_range(file& f, lock_owner o, byte_range r, lock_kind kind, wait_for_lock wait) {
  locked_file* l;
  lock_owner in_the_way{};
  {
    guard g(locks_mutex);
    l = TRY(file_record(identity(f)));
    auto first = try_range(f, *l, o, r, kind, in_the_way);
    if (first.code() != error::again || wait == wait_for_lock::no) {
      forget_if_unused(*l);
      return first;
    }
    ++l->waiting;
  }
  process_wait self{o.identity, nullptr, nullptr};
  auto outcome = repeat(*l, [&]() -> result<void> {
    end_wait(self);
    auto tried = try_range(f, *l, o, r, kind, in_the_way);
    if (tried.code() != error::again || !o.is_process() || !in_the_way.is_process())
      return tried;
    if (would_deadlock(o.identity, in_the_way.identity))
      return error::deadlk;
    self.for_whom = in_the_way.identity;
    self.next = first_wait;
    first_wait = &self;
    return tried;
  });
  guard g(locks_mutex);
  end_wait(self);
  --l->waiting;
  forget_if_unused(*l);
  return outcome;
}

result<byte_range> range_of(file& f, const struct flock& lock) {
  int64_t start = 0, end;
  if (lock.l_whence == SEEK_CUR) {
    auto position = f.seek(0, SEEK_CUR);
    start = position.ok() ? static_cast<int64_t>(*position) : 0; // what has none is at 0
  } else if (lock.l_whence == SEEK_END) {
    struct stat s;
    TRY(f.status(s));
    start = s.st_size;
  } else if (lock.l_whence != SEEK_SET) {
    return error::inval;
  }
  if (__builtin_add_overflow(start, lock.l_start, &start))
    return error::overflow;
  if (start < 0)
    return error::inval;
  if (lock.l_len == 0)
    return byte_range{static_cast<uint64_t>(start), byte_range::last_byte};
  if (lock.l_len < 0) { // the bytes before
    if (__builtin_add_overflow(start, lock.l_len, &end) || end < 0)
      return error::inval;
    return byte_range{static_cast<uint64_t>(end), static_cast<uint64_t>(start - 1)};
  }
  if (__builtin_add_overflow(start, lock.l_len - 1, &end))
    return error::overflow;
  return byte_range{static_cast<uint64_t>(start), static_cast<uint64_t>(end)};
}

result<lock_kind> kind_of(file& f, int type) {
  const uint32_t mode = f.flags() & O_ACCMODE;
  switch (type) {
  case F_UNLCK:
    return lock_kind::none;
  case F_RDLCK:
    return mode == O_WRONLY ? result<lock_kind>(error::badf) : lock_kind::shared;
  case F_WRLCK:
    return mode == O_RDONLY ? result<lock_kind>(error::badf) : lock_kind::exclusive;
  }
  return error::inval;
}

// F_GETLK: the first lock that stands in the way, or F_UNLCK.
result<void> query(file& f, lock_owner o, struct flock& lock) {
  if (lock.l_type != F_RDLCK && lock.l_type != F_WRLCK)
    return error::inval;
  const auto wanted = lock.l_type == F_WRLCK ? lock_kind::exclusive : lock_kind::shared;
  const byte_range r = TRY(range_of(f, lock));
  guard g(locks_mutex);
  locked_file* l = find_file(identity(f));
  const auto c = l ? find_conflict(*l, o, r, wanted) : conflicting{};
  if (!c.range) {
    lock.l_type = F_UNLCK;
    return {};
  }
  const auto [first, last] = c.range->range;
  lock.l_type = c.range->kind == lock_kind::exclusive ? F_WRLCK : F_RDLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<int64_t>(first);
  lock.l_len = last == byte_range::last_byte ? 0 : static_cast<int64_t>(last - first + 1);
  lock.l_pid = c.holder->owner.pid;
  return {};
}

// --- flock()

void release_whole(locked_file& l, lock_holder& h) {
  (h.whole == lock_kind::shared ? l.shared : l.exclusive) -= 1;
  forget_holder(l.whole_holders, h);
  l.waiters.wake_all();
}

// A conversion gives the old lock back first, as on Linux: two that convert at once would wait for
// each other otherwise.
result<void> try_whole(file& f, locked_file& l, lock_kind kind) {
  const lock_owner o = description(f);
  lock_holder* h = find_holder(l.whole_holders, o);
  if (h && h->whole == kind)
    return {};
  if (h)
    release_whole(l, *h);
  if (kind == lock_kind::none)
    return {};
  if (!f.has_descriptors())
    return error::badf;
  if (l.exclusive || (kind == lock_kind::exclusive && l.shared))
    return error::again;
  h = TRY(holder_record(l.whole_holders, o));
  h->whole = kind;
  (kind == lock_kind::shared ? l.shared : l.exclusive) += 1;
  return {};
}

result<void> lock_whole(file& f, lock_kind kind, wait_for_lock wait) {
  locked_file* l;
  {
    guard g(locks_mutex);
    l = TRY(file_record(identity(f)));
    auto first = try_whole(f, *l, kind);
    if (first.code() != error::again || wait == wait_for_lock::no) {
      forget_if_unused(*l);
      return first;
    }
    ++l->waiting;
  }
  auto outcome = repeat(*l, [&] { return try_whole(f, *l, kind); });
  guard g(locks_mutex);
  --l->waiting;
  forget_if_unused(*l);
  return outcome;
}

result<void> lock_by_number(int fd, int operation) {
  auto f = TRY(get_file(fd));
  if (f->flags() & O_PATH)
    return error::badf;
  const auto wait = operation & LOCK_NB ? wait_for_lock::no : wait_for_lock::yes;
  switch (operation & ~LOCK_NB) {
  case LOCK_SH:
    return lock_whole(*f, lock_kind::shared, wait);
  case LOCK_EX:
    return lock_whole(*f, lock_kind::exclusive, wait);
  case LOCK_UN:
    return lock_whole(*f, lock_kind::none, wait);
  }
  return error::inval;
}

void drop_ranges(locked_file& l, lock_owner o) {
  if (lock_holder* h = find_holder(l.range_holders, o)) {
    forget_holder(l.range_holders, *h);
    l.waiters.wake_all();
  }
}

} // namespace

result<long> control_range_lock(file& f, int command, struct flock* app_lock) {
  if (f.flags() & O_PATH)
    return error::badf;
  auto lock = TRY(mem::read_app(app_lock));
  const bool of_description =
      command == F_OFD_GETLK || command == F_OFD_SETLK || command == F_OFD_SETLKW;
  if (of_description && lock.l_pid != 0)
    return error::inval;
  const lock_owner owner = of_description ? description(f) : process();
  if (command == F_GETLK || command == F_OFD_GETLK) {
    TRY(query(f, owner, lock));
    TRY(mem::write_app(app_lock, lock));
    return 0L;
  }
  const byte_range r = TRY(range_of(f, lock));
  const lock_kind kind = TRY(kind_of(f, lock.l_type));
  const bool wait = command == F_SETLKW || command == F_OFD_SETLKW;
  TRY(lock_range(f, owner, r, kind, wait ? wait_for_lock::yes : wait_for_lock::no));
  return 0L;
}

void drop_description_locks(file& f) {
  guard g(locks_mutex);
  locked_file* l = find_file(identity(f));
  if (!l)
    return;
  drop_ranges(*l, description(f));
  if (lock_holder* h = find_holder(l->whole_holders, description(f)))
    release_whole(*l, *h);
  forget_if_unused(*l);
}

void drop_process_locks(file& f) {
  guard g(locks_mutex);
  locked_file* l = find_file(identity(f));
  if (!l)
    return;
  drop_ranges(*l, process());
  forget_if_unused(*l);
}

} // namespace oblako::posix

using namespace oblako;
using namespace oblako::posix;

OBLAKO_SYSCALL_RESTARTABLE(sys_flock, do_flock);
extern "C" long do_flock(int fd, int operation) {
  return to_syscall(lock_by_number(fd, operation));
}
