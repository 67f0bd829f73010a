// sources:
// The run queue under a simulated clock: who runs next, how shares come out, what a sleeper gets.
#include "core/sched/run_queue.hh"

#include <gtest/gtest.h>
#include <memory>
#include <vector>

namespace oblako::sched {
namespace {

constexpr uint64_t slice = 4'000'000;

// A CPU with threads that always want to run, scheduled as sched.cc does.
struct simulated_cpu {
  run_queue queue;
  std::vector<std::unique_ptr<thread>> threads;
  std::vector<uint64_t> used;
  thread* running = nullptr;

  size_t add(uint32_t weight = thread::default_weight) {
    threads.push_back(std::make_unique<thread>());
    used.push_back(0);
    thread& t = *threads.back();
    t.weight = weight;
    t.tid = static_cast<int32_t>(threads.size() - 1);
    queue.place(t);
    queue.insert(t);
    return threads.size() - 1;
  }
  // Runs the first thread for ns, then puts it back.
  size_t run(uint64_t ns) {
    running = queue.take_first();
    const auto index = static_cast<size_t>(running->tid);
    queue.charge(*running, ns);
    used[index] += ns;
    queue.insert(*running);
    return index;
  }
  // Takes a thread out, as if it slept.
  void sleep(size_t i) { queue.erase(*threads[i]); }
  void wake(size_t i) {
    queue.place(*threads[i]);
    queue.insert(*threads[i]);
  }
  ~simulated_cpu() {
    while (queue.take_first()) {
    }
  }
};

TEST(run_queue, empty) {
  run_queue q;
  EXPECT_TRUE(q.empty());
  EXPECT_EQ(q.take_first(), nullptr);
}

TEST(run_queue, equal_threads_take_turns) {
  simulated_cpu cpu;
  for (int i = 0; i < 3; ++i)
    cpu.add();
  std::vector<size_t> order;
  for (int i = 0; i < 9; ++i)
    order.push_back(cpu.run(slice));
  EXPECT_EQ(order, (std::vector<size_t>{0, 1, 2, 0, 1, 2, 0, 1, 2}));
}

TEST(run_queue, shares_follow_weights) {
  simulated_cpu cpu;
  cpu.add(1024);
  cpu.add(2048);
  cpu.add(1024);
  for (int i = 0; i < 4000; ++i)
    cpu.run(slice);
  const double whole = 4000.0 * slice;
  EXPECT_NEAR(double(cpu.used[0]) / whole, 0.25, 0.01);
  EXPECT_NEAR(double(cpu.used[1]) / whole, 0.5, 0.01);
  EXPECT_NEAR(double(cpu.used[2]) / whole, 0.25, 0.01);
}

TEST(run_queue, unequal_slices_come_out_even) {
  simulated_cpu cpu;
  cpu.add();
  cpu.add();
  uint64_t random = 1;
  for (int i = 0; i < 20000; ++i) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    cpu.run(1 + (random >> 33) % slice);
  }
  const uint64_t difference =
      cpu.used[0] > cpu.used[1] ? cpu.used[0] - cpu.used[1] : cpu.used[1] - cpu.used[0];
  EXPECT_LE(difference, slice);
}

TEST(run_queue, a_long_sleeper_runs_soon_but_cannot_claim_the_past) {
  simulated_cpu cpu;
  const size_t sleeper = cpu.add(), worker = cpu.add();
  cpu.run(slice);
  cpu.run(slice);
  cpu.sleep(sleeper);
  for (int i = 0; i < 1000; ++i)
    cpu.run(slice);
  cpu.wake(sleeper);
  EXPECT_TRUE(run_queue::preempts(*cpu.threads[sleeper], *cpu.threads[worker]));
  EXPECT_EQ(cpu.run(slice), sleeper);
  // What it is ahead by is the credit, not the four seconds it slept.
  const uint64_t before = cpu.used[sleeper];
  for (int i = 0; i < 100; ++i)
    cpu.run(slice);
  const uint64_t got = cpu.used[sleeper] - before;
  EXPECT_LE(got, 50 * slice + run_queue::sleeper_credit + slice);
  EXPECT_GE(got, 49 * slice);
}

TEST(run_queue, a_short_sleeper_keeps_its_virtual_runtime) {
  simulated_cpu cpu;
  const size_t a = cpu.add();
  cpu.add();
  for (int i = 0; i < 10; ++i)
    cpu.run(slice);
  const uint64_t before = cpu.threads[a]->virtual_runtime;
  cpu.sleep(a);
  cpu.wake(a);
  EXPECT_EQ(cpu.threads[a]->virtual_runtime, before);
}

TEST(run_queue, floor_never_falls) {
  simulated_cpu cpu;
  for (int i = 0; i < 5; ++i)
    cpu.add();
  uint64_t last = 0, random = 7;
  for (int i = 0; i < 5000; ++i) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    cpu.run((random >> 40) % slice);
    ASSERT_GE(cpu.queue.floor(), last);
    last = cpu.queue.floor();
    if (i % 7 == 0) {
      const size_t victim = (random >> 20) % 5;
      cpu.sleep(victim);
      cpu.wake(victim);
    }
  }
}

TEST(run_queue, no_preemption_within_the_granularity) {
  thread running, woken;
  running.virtual_runtime = 10'000'000;
  woken.virtual_runtime = running.virtual_runtime - run_queue::wakeup_granularity;
  EXPECT_FALSE(run_queue::preempts(woken, running));
  woken.virtual_runtime -= 1;
  EXPECT_TRUE(run_queue::preempts(woken, running));
}

TEST(run_queue, yielding_lets_the_next_one_go_first) {
  simulated_cpu cpu;
  cpu.add();
  cpu.add();
  thread* first = cpu.queue.take_first();
  cpu.queue.place_behind_first(*first);
  cpu.queue.insert(*first);
  thread* second = cpu.queue.take_first();
  EXPECT_NE(first, second);
  cpu.queue.insert(*second);
}

TEST(run_queue, yielding_threads_do_not_keep_a_third_from_running) {
  simulated_cpu cpu;
  for (int i = 0; i < 3; ++i)
    cpu.add();
  for (int i = 0; i < 3000; ++i) {
    thread* t = cpu.queue.take_first();
    cpu.queue.charge(*t, 1000);
    cpu.used[static_cast<size_t>(t->tid)] += 1000;
    if (t->tid != 2)
      cpu.queue.place_behind_first(*t);
    cpu.queue.insert(*t);
  }
  EXPECT_GT(cpu.used[2], 900u * 1000);
}

} // namespace
} // namespace oblako::sched
