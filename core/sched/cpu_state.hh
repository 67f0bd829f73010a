// The scheduler's state of one CPU, and what the files of core/sched share with each other.
//
// Rules that make lost wake-ups impossible:
//   1. A thread's state changes only under the run queue lock of its CPU.
//   2. A thread goes from running to blocked only in block_unless(), in the same critical section
//   in
//      which it found that no reason to stay awake exists.
//   3. Whoever creates such a reason (sets a notified mark, a pending signal, an expired flag) does
//   so
//      before calling wake(), which takes the same lock.
// So either the sleeper sees the reason, or the waker sees it blocked and makes it runnable.
//
// There is no idle thread. If nothing is runnable, the thread that gave up the CPU stays on its own
// stack in the idle loop (`idle` is set, and no thread is in state running) until an interrupt has
// made somebody runnable; if that is the thread itself, there was no switch at all.
#pragma once

#include "core/sched/run_queue.hh"

namespace oblako::sched {

// How long a thread runs while others wait. Units: nanoseconds.
constexpr uint64_t time_slice = 4'000'000;

struct cpu_state {
  spinlock lock{lock_rank::run_queue};
  // --- guarded by lock
  run_queue queue;
  bool idle = false;
  uint32_t kicked = 0;        // set by wake() for the idle loop, which polls it without the lock
  uint64_t slice_end = 0;     // of the running thread; only of interest while others wait
  uint64_t busy_total = 0;    // ns spent in threads, up to the current one's run_started
  thread* previous = nullptr; // switched away from, until oblako_finish_switch()
  // --- owned by the idle loop
  uint64_t poll_ns = 0;
};

extern cpu_state* cpu_states[arch::max_cpus];
inline cpu_state& state_of(uint32_t cpu) {
  return *cpu_states[cpu];
}
inline cpu_state& this_state() {
  return *static_cast<cpu_state*>(arch::this_cpu().idle);
}

// Blocks the calling thread until wake(), unless stay_awake(argument) is true. The test runs under
// the run queue lock: it may only read. Context: thread, no spinlock held.
void block_unless(bool (*stay_awake)(void*), void* argument);

// Ends the running thread, which is no longer in the thread table. Its memory goes back once
// another thread runs.
[[noreturn]] void leave_for_ever();

// Does what percpu::pending asks of the scheduler. Weak: comes with whatever may set
// pending_reschedule. Context: thread, no spinlock held.
[[gnu::weak]] void reschedule();

// For the timer interrupt: ends the slice if it is over. Returns when to look again (no_deadline
// if nobody waits for the CPU). Context: interrupt.
uint64_t check_time_slice(uint64_t now);

} // namespace oblako::sched
