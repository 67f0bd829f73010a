// sources: core/time/timer.cc
// The timer queue against a fake clock: order, re-arming, cancelling, and which interrupts it asks
// for.
#include "core/time/timer.hh"

#include "core/time/clock.hh"
#include "core/time/deadline.hh"
#include <gtest/gtest.h>
#include <map>
#include <memory>
#include <vector>

extern "C" uint64_t oblako_run_timers(uint64_t now);

namespace {
std::vector<uint64_t> requested;
uint64_t clock_ns; // a callback takes 1 ns
} // namespace

namespace oblako::time {

uint64_t monotonic_ns() {
  return clock_ns;
}
void prepare_interrupts() {}
void request_interrupt_by(uint64_t deadline_ns) {
  requested.push_back(deadline_ns);
}

namespace {

std::vector<int> fired;

struct numbered : timer {
  explicit numbered(int n) : timer(&numbered::expire), n(n) {}
  static void expire(timer& t) {
    auto& self = static_cast<numbered&>(t);
    fired.push_back(self.n);
    ++clock_ns;
    if (self.again)
      self.arm(self.deadline() + self.again);
    if (self.victim)
      self.victim->cancel();
  }
  int n;
  uint64_t again = 0;
  timer* victim = nullptr;
};

class timers : public testing::Test {
protected:
  void SetUp() override {
    fired.clear();
    requested.clear();
  }
};

TEST_F(timers, nothing_to_do) {
  EXPECT_EQ(oblako_run_timers(100), no_deadline);
}

TEST_F(timers, run_in_order_of_their_deadlines) {
  numbered a(1), b(2), c(3);
  a.arm(300);
  b.arm(100);
  c.arm(200);
  EXPECT_EQ(requested, (std::vector<uint64_t>{300, 100})) << "only for a new nearest deadline";
  EXPECT_EQ(oblako_run_timers(99), 100u);
  EXPECT_TRUE(fired.empty());
  EXPECT_EQ(oblako_run_timers(200), 300u);
  EXPECT_EQ(fired, (std::vector<int>{2, 3}));
  EXPECT_EQ(oblako_run_timers(1000), no_deadline);
  EXPECT_EQ(fired, (std::vector<int>{2, 3, 1}));
  EXPECT_FALSE(a.armed());
}

TEST_F(timers, many_at_once_leave_time_for_others) {
  std::vector<std::unique_ptr<numbered>> many;
  for (int i = 0; i < 200; ++i) {
    many.push_back(std::make_unique<numbered>(i));
    many.back()->arm(1000);
  }
  clock_ns = 1000;
  EXPECT_EQ(oblako_run_timers(1000), 1064u + 64) << "as long a pause as the work took";
  EXPECT_EQ(fired.size(), 64u);
  clock_ns = 1128;
  EXPECT_EQ(oblako_run_timers(1128), 1192u + 64);
  clock_ns = 2000;
  EXPECT_EQ(oblako_run_timers(2000), 2064u + 64);
  clock_ns = 3000;
  EXPECT_EQ(oblako_run_timers(3000), no_deadline);
  EXPECT_EQ(fired.size(), 200u);
}

TEST_F(timers, arming_replaces_the_deadline) {
  numbered a(1);
  a.arm(100);
  a.arm(500);
  EXPECT_EQ(oblako_run_timers(400), 500u);
  EXPECT_TRUE(fired.empty());
  a.arm(50);
  oblako_run_timers(60);
  EXPECT_EQ(fired.size(), 1u);
  a.arm(no_deadline);
  EXPECT_FALSE(a.armed());
}

TEST_F(timers, cancel) {
  numbered a(1), b(2);
  EXPECT_FALSE(a.cancel());
  a.arm(100);
  b.arm(100);
  EXPECT_TRUE(a.cancel());
  EXPECT_FALSE(a.cancel());
  oblako_run_timers(100);
  EXPECT_EQ(fired, std::vector<int>{2});
}

TEST_F(timers, the_destructor_cancels) {
  {
    numbered a(1);
    a.arm(100);
  }
  EXPECT_EQ(oblako_run_timers(100), no_deadline);
  EXPECT_TRUE(fired.empty());
}

TEST_F(timers, callback_may_arm_again) {
  numbered a(1);
  a.again = 10;
  a.arm(100);
  EXPECT_EQ(oblako_run_timers(125), 130u);
  EXPECT_EQ(fired.size(), 3u);
}

TEST_F(timers, callback_may_cancel_another_that_is_due) {
  numbered a(1), b(2);
  a.victim = &b;
  a.arm(100);
  b.arm(101);
  EXPECT_EQ(oblako_run_timers(200), no_deadline);
  EXPECT_EQ(fired, std::vector<int>{1});
}

TEST_F(timers, callback_may_end_the_timers_life) {
  struct heap_timer : timer {
    heap_timer() : timer(&heap_timer::expire) {}
    static void expire(timer& t) { delete static_cast<heap_timer*>(&t); }
  };
  (new heap_timer)->arm(10);
  EXPECT_EQ(oblako_run_timers(10), no_deadline);
}

TEST_F(timers, many_at_random_against_a_model) {
  constexpr int count = 200;
  std::vector<std::unique_ptr<numbered>> all;
  std::map<int, uint64_t> model;
  for (int i = 0; i < count; ++i)
    all.push_back(std::make_unique<numbered>(i));
  uint64_t random = 42, now = 0;
  const auto next_random = [&] { return (random = random * 6364136223846793005u + 1) >> 33; };
  for (int step = 0; step < 20000; ++step) {
    const int i = static_cast<int>(next_random() % count);
    switch (next_random() % 4) {
    case 0:
    case 1:
      model[i] = now + 1 + next_random() % 1000;
      all[static_cast<size_t>(i)]->arm(model[i]);
      break;
    case 2:
      EXPECT_EQ(all[static_cast<size_t>(i)]->cancel(), model.erase(i) == 1);
      break;
    case 3: {
      now += next_random() % 100;
      fired.clear();
      const uint64_t next = oblako_run_timers(now);
      uint64_t expected_next = no_deadline;
      size_t due = 0;
      for (auto it = model.begin(); it != model.end();) {
        if (it->second <= now) {
          ++due;
          it = model.erase(it);
        } else {
          expected_next = std::min(expected_next, it->second);
          ++it;
        }
      }
      ASSERT_EQ(fired.size(), due);
      ASSERT_EQ(next, expected_next);
    }
    }
  }
}

} // namespace
} // namespace oblako::time
