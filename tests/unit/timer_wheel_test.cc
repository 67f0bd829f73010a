// sources:
// The timer wheel against a plain sorted list: whatever is armed, moved and disarmed, each timer
// fires exactly once, at its tick, and next() never comes too late nor stands still.
#include "core/net/timer_wheel.hh"

#include <gtest/gtest.h>
#include <map>
#include <random>
#include <vector>

namespace oblako::net {
namespace {

struct fixture {
  explicit fixture(uint32_t start) : now(start) { wheel.start(start); }

  // Moves the clock; what fired and when it was due.
  std::vector<wheel_timer*> advance(uint32_t to) {
    std::vector<wheel_timer*> fired;
    wheel.advance(to, [&](wheel_timer& t) {
      EXPECT_EQ(t.link, nullptr);
      fired.push_back(&t);
    });
    now = to;
    return fired;
  }

  timer_wheel wheel;
  uint32_t now;
};

TEST(timer_wheel, fires_at_its_tick_on_every_circle) {
  // Across the wrap-around of the clock too.
  for (uint32_t start : {0u, 1u, 63u, 64u, 4095u, 123'456'789u, 0xffff'ffffu, 0xffff'ff00u}) {
    for (uint32_t delay : {1u, 2u, 63u, 64u, 65u, 127u, 128u, 4095u, 4096u, 4097u, 262'143u,
                           262'144u, 262'145u, 7'200'000u, timer_wheel::reach}) {
      fixture f(start);
      wheel_timer t{};
      f.wheel.arm(t, start + delay);
      EXPECT_TRUE(f.advance(start + delay - 1).empty()) << start << ' ' << delay;
      EXPECT_EQ(f.advance(start + delay).size(), 1u) << start << ' ' << delay;
      EXPECT_TRUE(f.wheel.empty());
    }
  }
}

TEST(timer_wheel, next_leads_to_the_timer_in_few_steps) {
  for (uint32_t delay : {1u, 64u, 5'000u, 300'000u, 7'200'000u}) {
    fixture f(77);
    wheel_timer t{};
    f.wheel.arm(t, 77 + delay);
    unsigned steps = 0;
    while (!f.wheel.empty()) {
      const uint32_t next = f.wheel.next();
      ASSERT_GT(static_cast<int32_t>(next - f.now), 0);
      ASSERT_LE(next, 77 + delay);
      f.advance(next);
      ASSERT_LE(++steps, 4u);
    }
    EXPECT_EQ(f.now, 77 + delay);
  }
}

TEST(timer_wheel, the_past_is_the_next_tick_and_the_far_future_comes_early) {
  fixture f(1000);
  wheel_timer past{}, far{};
  f.wheel.arm(past, 900);
  f.wheel.arm(far, 1000 + 0x7000'0000);
  EXPECT_EQ(f.advance(1001), std::vector{&past});
  EXPECT_TRUE(f.advance(1000 + timer_wheel::reach - 1).empty());
  EXPECT_EQ(f.advance(1000 + timer_wheel::reach), std::vector{&far});
}

TEST(timer_wheel, a_call_may_arm_and_disarm_what_it_likes) {
  fixture f(0);
  wheel_timer a{}, b{}, c{};
  f.wheel.arm(a, 10);
  f.wheel.arm(b, 10);
  f.wheel.arm(c, 70);
  unsigned fired = 0;
  f.wheel.advance(100, [&](wheel_timer& t) {
    ++fired;
    f.wheel.disarm(a);
    f.wheel.disarm(b);
    f.wheel.disarm(c);
    if (fired < 4)
      f.wheel.arm(t, 10); // again and again, one tick later each
  });
  EXPECT_EQ(fired, 4u);
  EXPECT_TRUE(f.wheel.empty());
}

TEST(timer_wheel, agrees_with_a_sorted_list) {
  std::mt19937 random(5);
  for (int round = 0; round < 20; ++round) {
    const uint32_t start = random();
    fixture f(start);
    std::vector<wheel_timer> timers(200);
    std::map<wheel_timer*, uint64_t> model; // due, as a distance from the start
    uint64_t now = 0;
    for (int step = 0; step < 2000; ++step) {
      wheel_timer* t = &timers[random() % timers.size()];
      if (random() % 4 == 0) {
        f.wheel.disarm(*t);
        model.erase(t);
      } else {
        const uint64_t due = now + 1 + (random() % 8 ? random() % 300 : random() % 1'000'000);
        f.wheel.arm(*t, start + static_cast<uint32_t>(due));
        model[t] = due;
      }
      if (random() % 3)
        continue;
      now += random() % 10 ? random() % 50 : random() % 200'000;
      uint64_t last = 0;
      for (wheel_timer* fired : f.advance(start + static_cast<uint32_t>(now))) {
        ASSERT_TRUE(model.count(fired));
        ASSERT_LE(model[fired], now);
        ASSERT_GE(model[fired], last);
        last = model[fired];
        model.erase(fired);
      }
      for (auto& [left, due] : model)
        ASSERT_GT(due, now);
    }
    for (auto& t : timers)
      f.wheel.disarm(t);
    EXPECT_TRUE(f.wheel.empty());
  }
}

} // namespace
} // namespace oblako::net
