// sources: core/sched/wait.cc core/sched/wait_deadline.cc
// Wait queues and waiting threads, with the scheduler and the clock played by the test: what wakes
// whom, in which order, and that no wake-up is lost, whenever it comes.
#include "core/sched/wait_internal.hh"
#include "core/time/timer.hh"

#include <functional>
#include <gtest/gtest.h>
#include <map>
#include <vector>

namespace {

using namespace oblako;

uint64_t now;
std::map<time::timer*, uint64_t> armed_timers;
std::vector<sched::thread*> woken;
// What happens elsewhere while the thread sleeps; called each time block_unless() blocks.
std::function<void()> while_blocked;
int blocked_times;

} // namespace

namespace oblako::time {

uint64_t monotonic_ns() {
  return now;
}
// Stands in for the real queue, which has a test of its own: timers fire when the test says so.
class timer_queue {
public:
  static void fire(timer& t) { t.fn_(t); }
};
void timer::arm(uint64_t deadline) {
  armed_timers[this] = deadline;
}
bool timer::cancel() {
  return armed_timers.erase(this) != 0;
}

} // namespace oblako::time

namespace oblako::log {
void panic(const char* format, ...) {
  throw std::runtime_error(format);
}
} // namespace oblako::log

namespace oblako::sched {

void wake(thread& t) {
  woken.push_back(&t);
  if (t.state == thread_state::blocked)
    t.state = thread_state::runnable;
}

void block_unless(bool (*stay_awake)(void*), void* argument) {
  if (stay_awake(argument))
    return;
  ++blocked_times;
  current().state = thread_state::blocked;
  for (int i = 0; current().state == thread_state::blocked; ++i) {
    ASSERT_LT(i, 100) << "nobody wakes the thread";
    while_blocked();
  }
  current().state = thread_state::running;
}

namespace {

struct test_observer : observer {
  explicit test_observer(std::vector<int>& log, int number, bool consumes = false)
      : observer(&test_observer::notify), log(log), number(number), consumes(consumes) {}
  static bool notify(observer& o, uint32_t events) {
    auto& self = static_cast<test_observer&>(o);
    self.log.push_back(self.number);
    self.events = events;
    return self.consumes;
  }
  std::vector<int>& log;
  int number;
  bool consumes;
  uint32_t events = 0;
};

class waiting : public testing::Test {
protected:
  void SetUp() override {
    now = 1000;
    armed_timers.clear();
    woken.clear();
    blocked_times = 0;
    while_blocked = [] { FAIL() << "blocked for ever"; };
    arch::this_cpu().current = &self;
    self.state = thread_state::running;
  }
  void TearDown() override { arch::this_cpu().current = nullptr; }
  static void expire_timers() {
    for (auto [t, deadline] : std::map(armed_timers)) {
      now = max_of(now, deadline);
      armed_timers.erase(t);
      time::timer_queue::fire(*t);
    }
  }
  thread self;
  wait_queue queue;
  std::vector<int> log;
};

TEST_F(waiting, wake_all_reaches_everybody_oldest_first) {
  test_observer a(log, 1), b(log, 2), c(log, 3);
  queue.add(a);
  queue.add(b);
  queue.add(c);
  queue.wake_all(4);
  EXPECT_EQ(log, (std::vector<int>{1, 2, 3}));
  EXPECT_EQ(b.events, 4u);
  queue.remove(b);
  queue.wake_all();
  EXPECT_EQ(log, (std::vector<int>{1, 2, 3, 1, 3}));
  queue.remove(a);
  EXPECT_FALSE(queue.empty());
  queue.remove(c);
  EXPECT_TRUE(queue.empty());
  queue.wake_all();
  queue.wake_one();
  EXPECT_EQ(log.size(), 5u);
}

TEST_F(waiting, wake_one_stops_at_the_first_that_accepts) {
  test_observer a(log, 1), b(log, 2, true), c(log, 3, true);
  for (observer* o :
       {static_cast<observer*>(&a), static_cast<observer*>(&b), static_cast<observer*>(&c)})
    queue.add(*o);
  queue.wake_one();
  EXPECT_EQ(log, (std::vector<int>{1, 2}));
  for (observer* o :
       {static_cast<observer*>(&a), static_cast<observer*>(&b), static_cast<observer*>(&c)})
    queue.remove(*o);
}

TEST_F(waiting, removing_what_was_never_added_is_harmless) {
  test_observer a(log, 1), b(log, 2);
  queue.remove(a);
  queue.add(b);
  queue.remove(a);
  queue.remove(b);
  queue.remove(b);
  EXPECT_TRUE(queue.empty());
}

TEST_F(waiting, true_condition_does_not_sleep) {
  EXPECT_TRUE(wait_until(queue, [] { return true; }).ok());
  EXPECT_EQ(blocked_times, 0);
  EXPECT_TRUE(queue.empty());
}

TEST_F(waiting, sleeps_until_the_condition_holds) {
  int value = 0;
  while_blocked = [&] {
    ++value;
    queue.wake_all();
  };
  EXPECT_TRUE(wait_until(queue, [&] { return value == 3; }).ok());
  EXPECT_EQ(blocked_times, 3);
  EXPECT_TRUE(queue.empty());
}

// The waker strikes at every point of the waiter's way: before registration, between registration
// and the test, between the test and falling asleep, and while asleep.
TEST_F(waiting, no_wake_up_is_lost_at_any_point) {
  for (int strike = 0; strike < 6; ++strike) {
    bool done = false;
    int tests = 0;
    blocked_times = 0;
    const auto finish = [&] {
      done = true;
      queue.wake_all();
    };
    while_blocked = finish;
    auto r = wait_until(queue, [&] {
      const bool seen = done;
      // Right after the look: what the waiter has just seen is out of date.
      if (tests++ == strike)
        finish();
      return seen;
    });
    EXPECT_TRUE(r.ok());
    EXPECT_LE(blocked_times, 1);
    EXPECT_TRUE(queue.empty());
  }
}

TEST_F(waiting, deadline) {
  while_blocked = expire_timers;
  auto r = wait_until(
      queue, [] { return false; }, 5000);
  EXPECT_EQ(r.code(), error::timedout);
  EXPECT_EQ(now, 5000u);
  EXPECT_TRUE(queue.empty());
  EXPECT_TRUE(armed_timers.empty());
}

TEST_F(waiting, passed_deadline_does_not_block_or_arm) {
  auto r = wait_until(
      queue, [] { return false; }, 1000);
  EXPECT_EQ(r.code(), error::timedout);
  EXPECT_EQ(blocked_times, 0);
}

TEST_F(waiting, condition_that_comes_with_the_deadline_counts) {
  bool done = false;
  while_blocked = [&] {
    done = true;
    expire_timers();
  };
  EXPECT_TRUE(wait_until(
                  queue, [&] { return done; }, 5000)
                  .ok());
}

TEST_F(waiting, woken_before_the_deadline_leaves_no_timer) {
  bool done = false;
  while_blocked = [&] {
    done = true;
    queue.wake_all();
  };
  EXPECT_TRUE(wait_until(
                  queue, [&] { return done; }, 5000)
                  .ok());
  EXPECT_TRUE(armed_timers.empty());
}

TEST_F(waiting, pending_signal_interrupts) {
  while_blocked = [&] {
    self.pending |= arch::pending_signal;
    wake(self);
  };
  EXPECT_EQ(wait_until(queue, [] { return false; }).code(), error::restart);
  blocked_times = 0;
  EXPECT_EQ(wait_until(queue, [] { return false; }).code(), error::restart);
  EXPECT_EQ(blocked_times, 0) << "a signal that is pending already must not be slept over";
}

TEST_F(waiting, uninterruptible_wait_ignores_signals_and_cancellation) {
  self.pending |= arch::pending_signal;
  self.cancellation_point = self.cancel_requested = true;
  bool done = false;
  while_blocked = [&] {
    done = true;
    queue.wake_all();
  };
  EXPECT_TRUE(wait_until(
                  queue, [&] { return done; }, time::no_deadline, interruptible::no)
                  .ok());
}

TEST_F(waiting, cancellation_needs_a_cancellation_point) {
  bool done = false;
  while_blocked = [&] {
    done = true;
    queue.wake_all();
  };
  self.cancel_requested = true;
  EXPECT_TRUE(wait_until(queue, [&] { return done; }).ok());
  done = false;
  self.cancellation_point = true;
  EXPECT_EQ(wait_until(queue, [&] { return done; }).code(), error::canceled);
}

TEST_F(waiting, spurious_wake_up_goes_back_to_sleep) {
  int times = 0;
  thread_waiter waiter;
  queue.add(waiter);
  while_blocked = [&] {
    if (++times < 5)
      wake(self); // nobody notified the waiter
    else
      queue.wake_all();
  };
  EXPECT_TRUE(waiter.sleep(true).ok());
  EXPECT_EQ(times, 5);
  queue.remove(waiter);
}

TEST_F(waiting, exclusive_wake_ups_go_to_different_waiters) {
  thread other;
  thread_waiter first;
  arch::this_cpu().current = &other;
  thread_waiter second;
  arch::this_cpu().current = &self;
  queue.add(first);
  queue.add(second);
  queue.wake_one();
  queue.wake_one();
  EXPECT_EQ(woken, (std::vector<thread*>{&self, &self, &other}))
      << "the first was notified already, so the second one gets the second wake-up";
  EXPECT_TRUE(first.notified() && second.notified());
  queue.remove(first);
  queue.remove(second);
}

TEST_F(waiting, exclusive_wake_up_that_was_not_needed_is_handed_on) {
  thread other;
  arch::this_cpu().current = &other;
  thread_waiter second;
  arch::this_cpu().current = &self;
  int looks = 0;
  // The condition comes true by itself after the waiter, first in the queue, was chosen.
  auto r = wait_until(queue, [&] {
    if (++looks == 2) {
      queue.add(second);
      queue.wake_one();
    }
    return looks == 2;
  });
  EXPECT_TRUE(r.ok());
  EXPECT_TRUE(second.notified());
  queue.remove(second);
}

TEST_F(waiting, mutex_excludes_and_wakes_its_waiter) {
  mutex m;
  thread other;
  m.lock();
  EXPECT_TRUE(m.held_by_me());
  EXPECT_FALSE(m.try_lock());
  m.unlock();
  arch::this_cpu().current = &other;
  m.lock();
  arch::this_cpu().current = &self;
  EXPECT_FALSE(m.held_by_me());
  while_blocked = [&] {
    arch::this_cpu().current = &other;
    m.unlock();
    arch::this_cpu().current = &self;
  };
  m.lock();
  EXPECT_EQ(blocked_times, 1);
  EXPECT_TRUE(m.held_by_me());
  m.unlock();
}

TEST_F(waiting, mutex_taken_by_somebody_else_first_is_waited_for_again) {
  mutex m;
  thread other, third;
  arch::this_cpu().current = &other;
  m.lock();
  arch::this_cpu().current = &self;
  int round = 0;
  while_blocked = [&] {
    arch::this_cpu().current = round == 0 ? &other : &third;
    m.unlock();
    if (round++ == 0) {
      arch::this_cpu().current = &third;
      m.lock(); // overtakes the waiter
    }
    arch::this_cpu().current = &self;
  };
  m.lock();
  EXPECT_EQ(round, 2);
  EXPECT_TRUE(m.held_by_me());
  m.unlock();
}

TEST_F(waiting, mutex_does_not_mind_signals) {
  mutex m;
  thread other;
  arch::this_cpu().current = &other;
  m.lock();
  arch::this_cpu().current = &self;
  self.pending |= arch::pending_signal;
  while_blocked = [&] {
    arch::this_cpu().current = &other;
    m.unlock();
    arch::this_cpu().current = &self;
  };
  m.lock();
  EXPECT_TRUE(m.held_by_me());
  m.unlock();
}

} // namespace
} // namespace oblako::sched
