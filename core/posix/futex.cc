// Futexes: waiting until another thread says that a word of application memory has changed.
//
// A waiter may not read the word under a spinlock, since the page may have to be brought in. So it
// queues itself first, then reads, then sleeps:
//   - The waker changes the word, then looks through the queue. If it looked before the waiter was
//   in
//     the queue, the waiter's read comes after the change (the bucket's lock orders the two) and it
//     does not sleep. If it looked later, it finds the waiter and marks it, awake or not.
//   - A waiter that finds the word changed leaves the queue; if it was marked meanwhile, it counts
//   as
//     woken (returns 0), so that no wake-up goes to somebody who ignores it.
//
// The waiter's record is on its kernel stack. `home` names the bucket it is in; requeueing changes
// it, so whoever wants to take a waiter out locks the bucket named there and looks again. A waker
// clears it last: from then on the record may be gone.
#include "core/posix/futex.hh"

#include "core/mem/app_memory.hh"
#include "core/posix/time_arguments.hh"
#include "core/sched/thread.hh"

namespace oblako::posix {
namespace {

struct bucket;

struct futex_waiter {
  futex_waiter(uintptr_t address, uint32_t bits) : address(address), bits(bits) {}

  futex_waiter* next = nullptr;
  futex_waiter* previous = nullptr;
  bucket* home = nullptr;
  uintptr_t address;
  uint32_t bits;
  sched::thread_waiter sleeper;
};

struct waiter_traits {
  using node = futex_waiter;
  using node_ptr = futex_waiter*;
  using const_node_ptr = const futex_waiter*;
  static node_ptr get_next(const_node_ptr n) { return n->next; }
  static void set_next(node_ptr n, node_ptr next) { n->next = next; }
  static node_ptr get_previous(const_node_ptr n) { return n->previous; }
  static void set_previous(node_ptr n, node_ptr previous) { n->previous = previous; }
};
using waiter_list = boost::intrusive::circular_list_algorithms<waiter_traits>;

// All zero at first, so that the table takes no room in the image; hence no rank.
struct bucket {
  sched::spinlock lock{sched::lock_rank::none};
  futex_waiter* first = nullptr; // oldest; guarded by lock

  void append(futex_waiter& w) {
    if (first) {
      waiter_list::link_before(first, &w);
    } else {
      waiter_list::init_header(&w);
      first = &w;
    }
    __atomic_store_n(&w.home, this, __ATOMIC_RELEASE); // pairs with leave()
  }
  void take_out(futex_waiter& w) {
    futex_waiter* next = w.next == &w ? nullptr : w.next;
    waiter_list::unlink(&w);
    if (first == &w)
      first = next;
  }
  // Calls f(waiter) for the waiters at the address, oldest first, until it returns false. f may
  // take the waiter out.
  template <class F>
  void for_waiters(uintptr_t address, F f) {
    if (!first)
      return;
    futex_waiter* w = first;
    futex_waiter* last = first->previous;
    for (;;) {
      futex_waiter* next = w->next;
      const bool was_last = w == last;
      if (w->address == address && !f(*w))
        return;
      if (was_last)
        return;
      w = next;
    }
  }
};

constexpr unsigned bucket_bits = 7;
constinit bucket buckets[1u << bucket_bits];

bucket& bucket_of(uintptr_t address) {
  constexpr uint64_t golden = 0x9e3779b97f4a7c15; // spreads neighbouring words
  return buckets[(address >> 2) * golden >> (64 - bucket_bits)];
}

// Bucket lock held.
void wake(bucket& b, futex_waiter& w) {
  b.take_out(w);
  sched::thread_waiter::wake(w.sleeper, ~0u);
  __atomic_store_n(&w.home, nullptr, __ATOMIC_RELEASE); // the last access; pairs with leave()
}

uint32_t wake_in(bucket& b, uintptr_t address, uint32_t count, uint32_t bits) {
  uint32_t woken = 0;
  b.for_waiters(address, [&](futex_waiter& w) {
    if (woken == count)
      return false;
    if (w.bits & bits) {
      wake(b, w);
      ++woken;
    }
    return true;
  });
  return woken;
}

// Takes the caller's waiter out of its queue. True if it had been woken already.
bool leave(futex_waiter& w) {
  for (;;) {
    bucket* b = __atomic_load_n(&w.home, __ATOMIC_ACQUIRE);
    if (!b)
      return true;
    sched::spinlock_guard guard(b->lock);
    if (w.home == b) {
      b->take_out(w);
      w.home = nullptr;
      return false;
    }
  }
}

// Two buckets, locked in the order of their addresses; they may be the same.
class two_buckets : noncopyable {
public:
  two_buckets(bucket& a, bucket& b) : low_(min_of(&a, &b)), high_(max_of(&a, &b)) {
    low_->lock.lock();
    if (high_ != low_)
      high_->lock.lock();
  }
  ~two_buckets() {
    if (high_ != low_)
      high_->lock.unlock();
    low_->lock.unlock();
  }

private:
  arch::interrupts_off off_;
  bucket* low_;
  bucket* high_;
};

result<void> wait(const uint32_t* address, uint32_t expected, uint32_t bits, uint64_t deadline) {
  TRY(check_futex_word(address));
  if (!bits)
    return error::inval;
  futex_waiter w(reinterpret_cast<uintptr_t>(address), bits);
  bucket& b = bucket_of(w.address);
  {
    sched::spinlock_guard guard(b.lock);
    b.append(w);
  }
  const auto value = mem::read_app(address);
  if (!value.ok() || value.value() != expected) {
    if (leave(w))
      return {};
    return value.ok() ? error::again : value.code();
  }
  const auto slept = w.sleeper.sleep(deadline, true);
  return leave(w) || slept.ok() ? result<void>() : slept;
}

result<uint32_t> requeue(uint32_t* from, uint32_t wake_count, uint32_t move_count, uint32_t* to,
                         const uint32_t* expected) {
  TRY(check_futex_word(from));
  TRY(check_futex_word(to));
  // A change between this and the lock is as good as one right after the call.
  if (expected && TRY(mem::read_app(from)) != *expected)
    return error::again;
  const auto source = reinterpret_cast<uintptr_t>(from), target = reinterpret_cast<uintptr_t>(to);
  bucket &b = bucket_of(source), &other = bucket_of(target);
  two_buckets guard(b, other);
  const uint32_t woken = wake_in(b, source, wake_count, ~0u);
  if (source == target)
    return woken;
  uint32_t moved = 0;
  b.for_waiters(source, [&](futex_waiter& w) {
    if (moved == move_count)
      return false;
    b.take_out(w);
    w.address = target;
    other.append(w);
    ++moved;
    return true;
  });
  return expected ? woken + moved : woken;
}

// A word that processes share is named by its page, which must be there.
result<uint32_t> wake_call(const uint32_t* address, uint32_t count, uint32_t bits,
                           bool is_private) {
  TRY(check_futex_word(address));
  if (!bits)
    return error::inval;
  if (!is_private)
    TRY(mem::read_app(address));
  return futex_wake(reinterpret_cast<uintptr_t>(address), count, bits);
}

// FUTEX_WAKE_OP's argument: operation, comparison and their operands in one word.
struct wake_operation {
  uint32_t operation, comparison;
  int32_t operand, compared;

  explicit wake_operation(uint32_t encoded)
      : operation(encoded >> 28 & 7), comparison(encoded >> 24 & 15),
        operand(static_cast<int32_t>(encoded << 8) >> 20),
        compared(static_cast<int32_t>(encoded << 20) >> 20) {
    if (encoded >> 31) // FUTEX_OP_OPARG_SHIFT
      operand = static_cast<int32_t>(1u << (operand & 31));
  }
  result<uint32_t> apply(uint32_t old) const {
    const auto o = static_cast<uint32_t>(operand);
    switch (operation) {
    case 0:
      return o;
    case 1:
      return old + o;
    case 2:
      return old | o;
    case 3:
      return old & ~o;
    case 4:
      return old ^ o;
    default:
      return error::nosys;
    }
  }
  result<bool> compare(uint32_t old) const {
    const auto v = static_cast<int32_t>(old);
    switch (comparison) {
    case 0:
      return v == compared;
    case 1:
      return v != compared;
    case 2:
      return v < compared;
    case 3:
      return v <= compared;
    case 4:
      return v > compared;
    case 5:
      return v >= compared;
    default:
      return error::nosys;
    }
  }
};

result<uint32_t> wake_op(uint32_t* address, uint32_t count, uint32_t count2, uint32_t* address2,
                         const wake_operation& op) {
  TRY(check_futex_word(address));
  TRY(check_futex_word(address2));
  TRY(op.compare(0));
  uint32_t old = TRY(mem::read_app(address2));
  while (!TRY(mem::compare_exchange_app(address2, old, TRY(op.apply(old))))) {
  }
  uint32_t woken = futex_wake(reinterpret_cast<uintptr_t>(address), count);
  if (TRY(op.compare(old)))
    woken += futex_wake(reinterpret_cast<uintptr_t>(address2), count2);
  return woken;
}

enum operation : uint32_t {
  op_wait = 0,
  op_wake = 1,
  op_requeue = 3,
  op_cmp_requeue = 4,
  op_wake_op = 5,
  op_wait_bitset = 9,
  op_wake_bitset = 10,
  flag_private = 128,
  flag_realtime = 256,
};

// FUTEX_WAIT's timeout is a span, FUTEX_WAIT_BITSET's a moment. Errors: fault, inval.
result<uint64_t> deadline_of(const timespec* timeout, uint32_t op, bool realtime) {
  if (!timeout)
    return time::no_deadline;
  const uint64_t ns = TRY(ns_from_app(timeout));
  if (op == op_wait)
    return call_deadline(ns);
  return realtime ? deadline_of_wall(ns) : ns;
}

long finish_wait(result<void> r, uint64_t deadline) {
  // A span that began anew after a handler would get longer and longer.
  if (r.code() == error::restart && deadline != time::no_deadline)
    r = interrupted_at(deadline);
  return to_syscall(r);
}

} // namespace

uint32_t futex_wake(uintptr_t address, uint32_t count, uint32_t bits) {
  bucket& b = bucket_of(address);
  sched::spinlock_guard guard(b.lock);
  return wake_in(b, address, count, bits);
}

} // namespace oblako::posix

extern "C" long oblako_futex(uint32_t* address, int operation, uint32_t value,
                             uint64_t timeout_or_value2, uint32_t* address2, uint32_t value3) {
  using namespace oblako;
  using namespace oblako::posix;
  const uint32_t op = static_cast<uint32_t>(operation) & ~(flag_private | flag_realtime);
  const bool realtime = operation & flag_realtime;
  const auto value2 = static_cast<uint32_t>(timeout_or_value2);
  if (realtime && op != op_wait && op != op_wait_bitset)
    return -static_cast<long>(error::nosys);
  switch (op) {
  case op_wait:
    value3 = ~0u;
    [[fallthrough]];
  case op_wait_bitset: {
    auto deadline = deadline_of(reinterpret_cast<const timespec*>(timeout_or_value2), op, realtime);
    if (!deadline.ok())
      return to_syscall(deadline);
    return finish_wait(wait(address, value, value3, *deadline), *deadline);
  }
  case op_wake:
    value3 = ~0u;
    [[fallthrough]];
  case op_wake_bitset:
    return to_syscall(wake_call(address, value, value3, operation & flag_private));
  case op_requeue:
    return to_syscall(requeue(address, value, value2, address2, nullptr));
  case op_cmp_requeue:
    return to_syscall(requeue(address, value, value2, address2, &value3));
  case op_wake_op:
    return to_syscall(wake_op(address, value, value2, address2, wake_operation(value3)));
  default:
    return -static_cast<long>(error::nosys);
  }
}
