// clang-format off
// sources: core/net/poller.cc core/sched/wait.cc core/sched/wait_deadline.cc
// clang-format on
// The network poller under a simulated machine: threads, clock, timers and a device that interrupts
// at the worst moments. Whatever the application does, frames are taken and sent within a bounded
// time.
#include "core/net/engine.hh"
#include "core/net/poller.hh"
#include "core/net/service.hh"
#include "core/net/stack.hh"
#include "core/sched/cpu_state.hh"
#include "core/time/timer.hh"
#include <deque>
#include <functional>
#include <gtest/gtest.h>
#include <memory>
#include <random>
#include <stdarg.h>
#include <ucontext.h>
#include <vector>

using namespace oblako;

namespace {

constexpr uint64_t us = 1000, ms = 1000 * us;

struct simulated_thread {
  sched::thread record;
  ucontext_t context{};
  std::vector<char> stack = std::vector<char>(256 * 1024);
  std::function<void()> body;
  bool runnable = true, finished = false;
};

struct machine {
  std::mt19937 random;
  uint64_t now = 1000 * ms;
  ucontext_t simulator{};
  std::vector<std::unique_ptr<simulated_thread>> threads;
  simulated_thread* running = nullptr;
  std::vector<time::timer*> timers;
  bool in_interrupt = false;

  // --- the device
  std::deque<uint64_t> ring; // arrival times
  bool interrupts = false;
  uint64_t next_arrival = 0, last_arrival = ~uint64_t{0};
  uint64_t mean_gap = 300 * us;
  unsigned interrupts_raised = 0;
  // --- what the engine does
  uint64_t queued_since = 0; // 0: the device knows of everything
  uint64_t timer_due = time::no_deadline, timer_period = 0;
  uint64_t taken = 0, worst_receive = 0, worst_send = 0, worst_timer = 0;
  bool engine_busy = false;
  sched::wait_queue arrivals; // application threads wait for frames to have been taken

  explicit machine(unsigned seed) : random(seed) {}

  uint64_t up_to(uint64_t n) { return std::uniform_int_distribution<uint64_t>(0, n)(random); }
  bool chance(unsigned percent) { return up_to(99) < percent; }

  // Time passes; what falls due in it happens, as interrupts do: between any two steps.
  void pass(uint64_t ns) {
    const uint64_t until = now + ns;
    for (;;) {
      uint64_t at = until;
      time::timer* due = nullptr;
      for (time::timer* t : timers)
        if (t->deadline() <= at)
          at = t->deadline(), due = t;
      const bool frame = next_arrival <= at && next_arrival <= last_arrival;
      if (frame)
        at = next_arrival, due = nullptr;
      now = std::max(now, at);
      if (!frame && !due)
        return;
      if (frame)
        arrive();
      else
        fire(*due);
    }
  }
  void arrive() {
    ring.push_back(now);
    next_arrival = now + 1 + up_to(2 * mean_gap);
    if (!interrupts)
      return;
    interrupts = false; // raised once until enabled again
    ++interrupts_raised;
    net::device_interrupt(nullptr);
  }
  void fire(time::timer& t);

  simulated_thread& start(std::function<void()> body) {
    threads.push_back(std::make_unique<simulated_thread>());
    simulated_thread& t = *threads.back();
    t.body = std::move(body);
    getcontext(&t.context);
    t.context.uc_stack.ss_sp = t.stack.data();
    t.context.uc_stack.ss_size = t.stack.size();
    t.context.uc_link = &simulator;
    makecontext(&t.context, reinterpret_cast<void (*)()>(&machine::enter), 0);
    return t;
  }
  static void enter();
  // The running thread gives the CPU up.
  void give_up() { swapcontext(&running->context, &simulator); }

  bool step() {
    std::vector<simulated_thread*> candidates;
    for (auto& t : threads)
      if (t->runnable && !t->finished)
        candidates.push_back(t.get());
    if (candidates.empty()) {
      // Idle until the next event.
      pass(10 * us);
      return false;
    }
    running = candidates[up_to(candidates.size() - 1)];
    arch::host_cpu.current = &running->record;
    swapcontext(&simulator, &running->context);
    running = nullptr;
    return true;
  }

  // Steps for so long.
  void run_for(uint64_t ns) {
    for (const uint64_t end = now + ns; now < end;) {
      step();
      pass(up_to(5 * us));
    }
  }
};

machine* world;

void machine::enter() {
  simulated_thread& self = *world->running;
  self.body();
  self.finished = true;
}

} // namespace

// --- the scheduler, clock and timers, simulated

namespace oblako::sched {
void block_unless(bool (*stay_awake)(void*), void* argument) {
  if (stay_awake(argument))
    return;
  world->running->runnable = false;
  world->give_up();
}
void wake(thread& t) {
  for (auto& s : world->threads)
    if (&s->record == &t)
      s->runnable = true;
}
void yield_if_needed() {
  if (world->chance(50))
    world->give_up();
}
result<thread*> start_kernel_thread(const char*, void (*entry)(void*), void* argument) {
  return &world->start([=] { entry(argument); }).record;
}
} // namespace oblako::sched

namespace oblako::time {
uint64_t monotonic_ns() {
  return world->now;
}

class timer_queue {
public:
  static void add(timer& t, uint64_t deadline);
  static bool take(timer& t);
  static void call(timer& t) { t.fn_(t); }
  using set = boost::intrusive::multiset<timer, boost::intrusive::compare<std::less<const timer*>>>;
  struct order {
    bool operator()(const timer& a, const timer& b) const { return &a < &b; }
  };
  // Only so that armed(), which asks the hook, tells the truth.
  static inline boost::intrusive::multiset<timer, boost::intrusive::compare<order>> linked;
};
void timer_queue::add(timer& t, uint64_t deadline) {
  take(t);
  t.deadline_ = deadline;
  linked.insert(t);
  world->timers.push_back(&t);
}
bool timer_queue::take(timer& t) {
  if (!t.is_linked())
    return false;
  linked.erase(linked.iterator_to(t));
  std::erase(world->timers, &t);
  return true;
}
void timer::arm(uint64_t deadline) {
  timer_queue::add(*this, deadline);
}
bool timer::cancel() {
  return timer_queue::take(*this);
}
} // namespace oblako::time

namespace {
void machine::fire(time::timer& t) {
  time::timer_queue::take(t);
  time::timer_queue::call(t);
}
} // namespace

namespace oblako::log {
void panic(const char* format, ...) {
  ADD_FAILURE() << format;
  abort();
}
} // namespace oblako::log

// --- the engine: counts what it is asked to do

namespace oblako::net {
sched::mutex stack_lock;

namespace engine {

bool run() {
  EXPECT_TRUE(stack_lock.held_by_me());
  EXPECT_FALSE(world->engine_busy) << "two threads in the stack";
  world->engine_busy = true;
  world->pass(world->up_to(3 * us));
  tell_devices();
  bool worked = false;
  for (unsigned batch = 0; batch < 8 && !world->ring.empty(); ++batch) {
    world->worst_receive = std::max(world->worst_receive, world->now - world->ring.front());
    world->ring.pop_front();
    ++world->taken;
    world->pass(world->up_to(2 * us));
    worked = true;
  }
  if (worked)
    world->arrivals.wake_all();
  if (world->now >= world->timer_due) {
    world->worst_timer = std::max(world->worst_timer, world->now - world->timer_due);
    world->timer_due = world->now + world->timer_period;
    worked = true;
  }
  expect_writes(world->up_to(4));
  world->engine_busy = false;
  return worked;
}

bool enable_interrupts() {
  EXPECT_TRUE(stack_lock.held_by_me());
  world->pass(world->up_to(1 * us));
  if (!world->ring.empty() || world->now >= world->timer_due)
    return false;
  world->interrupts = true;
  world->pass(world->up_to(1 * us)); // a frame here interrupts at once
  return true;
}

void disable_interrupts() {
  EXPECT_TRUE(stack_lock.held_by_me());
  world->interrupts = false;
}

bool transmit_pending() {
  return world->queued_since != 0;
}

void tell_devices() {
  EXPECT_TRUE(stack_lock.held_by_me());
  if (world->queued_since)
    world->worst_send = std::max(world->worst_send, world->now - world->queued_since);
  world->queued_since = 0;
}

uint64_t next_timer() {
  return world->timer_due;
}

} // namespace engine
} // namespace oblako::net

namespace {

// The application computes: time passes, the CPU may be taken away at any point.
void compute(uint64_t ns) {
  for (const uint64_t end = world->now + ns; world->now < end;) {
    world->pass(std::min<uint64_t>(world->up_to(50 * us) + 1, end - world->now));
    world->give_up();
  }
}

void write_something() {
  net::stack_lock.lock();
  if (!world->queued_since)
    world->queued_since = world->now;
  net::leave_stack();
  net::stack_lock.unlock();
}

void wait_for_frames() {
  const uint64_t seen = world->taken;
  const uint64_t deadline =
      world->chance(30) ? world->now + world->up_to(5 * ms) : time::no_deadline;
  (void)net::wait_until(
      world->arrivals, [=] { return world->taken != seen; }, deadline);
}

void application(uint64_t end, unsigned computing_percent) {
  while (world->now < end) {
    if (world->chance(computing_percent))
      compute(world->up_to(world->chance(10) ? 20 * ms : 200 * us));
    if (world->chance(30))
      write_something();
    if (world->chance(20))
      net::poll();
    if (world->chance(60))
      wait_for_frames();
  }
}

struct scenario {
  unsigned threads;
  unsigned computing;
  uint64_t gap;
  uint64_t timer;
};

class poller : public testing::TestWithParam<scenario> {};

// The poller keeps its state in globals, so each scenario runs in a process of its own.
int simulate(const scenario& s) {
  machine m(s.threads * 7919 + s.computing);
  world = &m;
  m.mean_gap = s.gap;
  m.next_arrival = m.now + 1;
  if (s.timer) {
    m.timer_period = s.timer;
    m.timer_due = m.now + s.timer;
  }
  net::start_service();
  m.start(write_something); // as the start of the network does
  const uint64_t end = m.now + 3000 * ms;
  m.last_arrival = end;
  for (unsigned i = 0; i < s.threads; ++i)
    m.start([=] { application(end, s.computing); });
  m.run_for(3000 * ms);
  m.run_for(50 * ms); // what is left, with threads possibly asleep for ever

  EXPECT_TRUE(m.ring.empty()) << m.ring.size() << " frames nobody takes";
  EXPECT_EQ(m.queued_since, 0u) << "frames nobody sends";
  EXPECT_GT(m.taken, 3000 * ms / s.gap / 2);
  // Two watchdog periods, and the CPU shared with the computing threads.
  EXPECT_LT(m.worst_receive, 12 * ms);
  EXPECT_LT(m.worst_send, 12 * ms);
  if (s.timer) {
    EXPECT_LT(m.worst_timer, 12 * ms);
  }
  // Every sleeper that waits without a deadline is woken by one more frame.
  m.last_arrival = ~uint64_t{0};
  m.next_arrival = m.now + 1;
  m.run_for(20 * ms);
  for (size_t i = 1; i < m.threads.size(); ++i) // all but the service thread
    EXPECT_TRUE(m.threads[i]->finished) << "thread " << i << " sleeps on";
  fprintf(stderr, "worst receive %lu us, send %lu us, timer %lu us, %lu frames, %u interrupts\n",
          m.worst_receive / us, m.worst_send / us, m.worst_timer / us, m.taken,
          m.interrupts_raised);
  fflush(stdout);
  return testing::Test::HasFailure() ? 1 : 0;
}

TEST_P(poller, LosesNothing) {
  EXPECT_EXIT(exit(simulate(GetParam())), testing::ExitedWithCode(0), "");
}

INSTANTIATE_TEST_SUITE_P(
    All, poller,
    testing::Values(scenario{0, 0, 300 * us, 0}, scenario{1, 0, 300 * us, 0},
                    scenario{1, 50, 300 * us, 50 * ms}, scenario{1, 100, 20 * us, 0},
                    scenario{1, 30, 5 * ms, 50 * ms}, scenario{3, 50, 300 * us, 50 * ms},
                    scenario{3, 90, 100 * us, 10 * ms}, scenario{6, 60, 30 * us, 50 * ms}));

} // namespace
