// Wait queues, waiting threads (without deadlines: wait_deadline.cc) and the mutex's slow path.
#include "core/sched/wait.hh"
#include "core/sched/wait_internal.hh"

namespace oblako::sched {

void wait_queue::add(observer& o) {
  {
    spinlock_guard guard(lock_);
    o.queue_ = this;
    if (first_)
      algorithms::link_before(first_, &o); // behind the youngest: the list is circular
    else
      algorithms::init_header(&o);
    if (!first_)
      __atomic_store_n(&first_, &o, __ATOMIC_RELAXED);
  }
  // The caller tests its condition next: the registration must be visible before that. Pairs with
  // the notifier's seq_cst load in empty(), behind its change of the condition.
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void wait_queue::remove(observer& o) {
  spinlock_guard guard(lock_);
  if (o.queue_ != this)
    return;
  o.queue_ = nullptr;
  observer* next = o.next_ == &o ? nullptr : o.next_;
  algorithms::unlink(&o);
  if (first_ == &o)
    __atomic_store_n(&first_, next, __ATOMIC_RELAXED);
}

void wait_queue::notify_all(uint32_t events) {
  spinlock_guard guard(lock_);
  if (!first_)
    return;
  observer* o = first_;
  do {
    o->notify_(*o, events);
    o = o->next_;
  } while (o != first_);
}

void wait_queue::notify_one(uint32_t events) {
  spinlock_guard guard(lock_);
  if (!first_)
    return;
  observer* o = first_;
  do {
    if (o->notify_(*o, events))
      return;
    o = o->next_;
  } while (o != first_);
}

thread_waiter::thread_waiter() : observer(&thread_waiter::wake), thread_(current()) {}

bool thread_waiter::wake(observer& o, uint32_t) {
  auto& waiter = static_cast<thread_waiter&>(o);
  // Whoever was notified already is going to look anyway: an exclusive wake-up goes to the next.
  const bool first = __atomic_exchange_n(&waiter.notified_, 1, __ATOMIC_ACQ_REL) == 0;
  sched::wake(waiter.thread_);
  return first;
}

bool thread_waiter::sleep_test::stay_awake(void* p) {
  auto& s = *static_cast<sleep_test*>(p);
  if (__atomic_load_n(&s.waiter.notified_, __ATOMIC_ACQUIRE))
    s.outcome = error::none;
  else if (s.interruptible && s.self.cancellation_point &&
           __atomic_load_n(&s.self.cancel_requested, __ATOMIC_ACQUIRE))
    s.outcome = error::canceled;
  else if (s.interruptible &&
           (__atomic_load_n(&s.self.pending, __ATOMIC_ACQUIRE) & arch::pending_signal))
    s.outcome = error::restart;
  else if (__atomic_load_n(&s.expired, __ATOMIC_ACQUIRE))
    s.outcome = error::timedout;
  else
    return false;
  return true;
}

result<void> thread_waiter::sleep_test::sleep() {
  while (!stay_awake(this))
    block_unless(&sleep_test::stay_awake, this);
  if (outcome != error::none)
    return outcome;
  __atomic_store_n(&waiter.notified_, 0, __ATOMIC_RELAXED);
  return {};
}

result<void> thread_waiter::sleep(bool interruptible_wait) {
  sleep_test test{*this, current(), interruptible_wait};
  return test.sleep();
}

bool mutex::try_lock() {
  thread* expected = nullptr;
  return __atomic_compare_exchange_n(&owner_, &expected, arch::current_thread(), false,
                                     __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

void mutex::lock_slow() {
  if (arch::crashing)
    return;
  OBLAKO_ASSERT(!held_by_me());
  thread_waiter waiter;
  waiters_.add(waiter);
  // Every unlock that finds waiters wakes one, so a notification that is left over is not missed.
  while (!try_lock())
    waiter.sleep(false).take();
  waiters_.remove(waiter);
}

} // namespace oblako::sched
