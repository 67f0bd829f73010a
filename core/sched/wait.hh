// Waiting. There is one kind of wait record for everything that waits: an observer on a
// wait_queue. A blocked thread is an observer whose notify wakes it; an epoll registration is an
// observer whose notify puts it on a ready list.
//
// The pattern that cannot lose a wake-up: register, then test the condition, then sleep.
// wait_until() does exactly that. The condition is tested with no lock held by wait_until itself;
// conditions on shared state take their own lock inside the predicate.
#pragma once

#include "core/base/result.hh"
#include "core/base/types.hh"
#include "core/sched/spinlock.hh"
#include "core/time/clock.hh"
#include <boost/intrusive/circular_list_algorithms.hpp>

namespace oblako::sched {

class thread;
class wait_queue;

// Called under the queue's spinlock, possibly in interrupt context: must only record and wake.
// `events` is what the notifier says happened (poll bits such as EPOLLIN, or ~0u).
class observer : noncopyable {
public:
  using notify_function = bool (*)(observer&, uint32_t events);
  // notify returns true if it consumed an exclusive wake-up (wake_one stops there).
  explicit observer(notify_function notify) : notify_(notify) {}

private:
  friend class wait_queue;
  friend struct observer_node_traits;
  notify_function notify_;
  wait_queue* queue_ = nullptr;
  observer* next_ = nullptr;
  observer* previous_ = nullptr;
};

// Boost.Intrusive's algorithms on the node itself: its list class has no constexpr constructor,
// and wait queues live in globals.
struct observer_node_traits {
  using node = observer;
  using node_ptr = observer*;
  using const_node_ptr = const observer*;
  static node_ptr get_next(const_node_ptr n) { return n->next_; }
  static void set_next(node_ptr n, node_ptr next) { n->next_ = next; }
  static node_ptr get_previous(const_node_ptr n) { return n->previous_; }
  static void set_previous(node_ptr n, node_ptr previous) { n->previous_ = previous; }
};

class wait_queue : noncopyable {
public:
  constexpr wait_queue() = default;
  // No observer may be registered any more.
  ~wait_queue() = default;

  // Context: any thread; the spinlock inside is interrupt-safe.
  void add(observer& o);
  // After it returns notify is not running and will not be called. Safe if it was never added.
  void remove(observer& o);

  // Notify every observer / the first that accepts. Cheap when nobody waits. Context: any.
  void wake_all(uint32_t events = ~0u) {
    if (!empty())
      notify_all(events);
  }
  void wake_one(uint32_t events = ~0u) {
    if (!empty())
      notify_one(events);
  }
  bool empty() const { return __atomic_load_n(&first_, __ATOMIC_SEQ_CST) == nullptr; }

private:
  // Weak: whoever links add() links these, and a queue without observers calls neither.
  [[gnu::weak]] void notify_all(uint32_t events);
  [[gnu::weak]] void notify_one(uint32_t events);

  using algorithms = boost::intrusive::circular_list_algorithms<observer_node_traits>;
  spinlock lock_{lock_rank::wait_queue};
  observer* first_ = nullptr; // oldest; circular
};

// An observer that wakes the thread that made it.
class thread_waiter : public observer {
public:
  thread_waiter();
  // The thread goes to sleep unless it was notified since construction or the last sleep().
  // Errors: timedout; if interruptible, restart (a signal is pending) and canceled (pthread
  // cancellation, only inside a cancellation point).
  result<void> sleep(uint64_t deadline_ns, bool interruptible_wait);
  // The same without a deadline; links no timers.
  result<void> sleep(bool interruptible_wait);
  // True if it was notified since construction or the last sleep(): on leaving a queue that uses
  // wake_one(), the notification has to be handed on.
  bool notified() const { return __atomic_load_n(&notified_, __ATOMIC_ACQUIRE); }
  // Sets the notified mark and makes the thread runnable. Context: any.
  static bool wake(observer& o, uint32_t events);

private:
  struct sleep_test;
  thread& thread_;
  uint32_t notified_ = 0; // set before wake(thread_), see core/sched/cpu_state.hh
};

enum class interruptible : bool { no, yes };

// Blocks until predicate() is true, by way of sleep(waiter) whenever it is not.
template <class Predicate, class Sleep>
result<void> wait_with(wait_queue& queue, Predicate predicate, Sleep sleep) {
  if (predicate())
    return {};
  thread_waiter waiter;
  queue.add(waiter);
  result<void> slept;
  bool satisfied;
  while (!(satisfied = predicate()) && slept.ok())
    slept = sleep(waiter);
  queue.remove(waiter);
  // A wake_one() that chose this waiter, which did not need it, belongs to the next.
  if (waiter.notified())
    queue.wake_one();
  // What came in the same moment as a signal or the deadline still counts.
  return satisfied ? result<void>() : slept;
}

// Blocks until predicate() is true. Errors: as thread_waiter::sleep. The predicate runs in the
// calling thread and may take locks. Context: thread, no spinlock held.
template <class Predicate>
result<void> wait_until(wait_queue& queue, Predicate predicate, uint64_t deadline_ns,
                        interruptible i = interruptible::yes) {
  return wait_with(queue, predicate, [=](thread_waiter& waiter) {
    return waiter.sleep(deadline_ns, i == interruptible::yes);
  });
}
// The same without a deadline; links no timers.
template <class Predicate>
result<void> wait_until(wait_queue& queue, Predicate predicate,
                        interruptible i = interruptible::yes) {
  return wait_with(queue, predicate,
                   [=](thread_waiter& waiter) { return waiter.sleep(i == interruptible::yes); });
}

// A mutex whose waiters sleep. Held by the network stack and file systems, also across accesses
// to application memory. Not for interrupt handlers.
class mutex : noncopyable {
public:
  constexpr mutex() = default;
  void lock() {
    thread* expected = nullptr;
    thread* self = arch::current_thread();
    if (!__atomic_compare_exchange_n(&owner_, &expected, self, false, __ATOMIC_ACQUIRE,
                                     __ATOMIC_RELAXED)) [[unlikely]]
      lock_slow();
  }
  void unlock() {
    // release: pairs with the acquire in lock(). seq_cst fence against the waiters' registration.
    __atomic_store_n(&owner_, nullptr, __ATOMIC_SEQ_CST);
    if (!waiters_.empty()) [[unlikely]]
      waiters_.wake_one();
  }
  bool try_lock();
  bool held_by_me() const { return owner_ == arch::current_thread(); }

private:
  // Weak: comes with create_thread(). The only thread there is finds every mutex free.
  [[gnu::weak]] void lock_slow();
  thread* owner_ = nullptr;
  wait_queue waiters_;
};

template <class Lock>
class lock_guard : noncopyable {
public:
  explicit lock_guard(Lock& l) : lock_(l) { lock_.lock(); }
  ~lock_guard() { lock_.unlock(); }

private:
  Lock& lock_;
};

} // namespace oblako::sched
