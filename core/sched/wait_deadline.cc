// Sleeping with a deadline: the part of thread_waiter that needs timers.
#include "core/sched/wait_internal.hh"
#include "core/time/timer.hh"

namespace oblako::sched {
namespace {

// Lies on the sleeper's kernel stack.
struct deadline_timer : time::timer {
  deadline_timer(thread& sleeper, uint32_t& expired)
      : timer(&deadline_timer::expire), sleeper(sleeper), expired(expired) {}

  static void expire(time::timer& t) {
    auto& self = static_cast<deadline_timer&>(t);
    __atomic_store_n(&self.expired, 1, __ATOMIC_RELEASE);
    wake(self.sleeper);
  }

  thread& sleeper;
  uint32_t& expired;
};

} // namespace

result<void> thread_waiter::sleep(uint64_t deadline_ns, bool interruptible_wait) {
  if (deadline_ns == time::no_deadline)
    return sleep(interruptible_wait);
  sleep_test test{*this, current(), interruptible_wait};
  if (notified())
    return test.sleep();
  if (time::monotonic_ns() >= deadline_ns) {
    test.expired = 1;
    return test.sleep();
  }
  deadline_timer timer(current(), test.expired);
  timer.arm(deadline_ns);
  return test.sleep();
}

} // namespace oblako::sched
