// The runnable threads of one CPU that are not running, ordered by virtual runtime. Pure data
// structure: no clock, no locks (its owner's run queue lock guards it).
//
// A thread's virtual runtime grows with the CPU time it uses, scaled by its weight; the one with
// the least runs next. floor() never falls and trails the least virtual runtime on this CPU: a
// thread that comes back from sleep starts no further behind it than sleeper_credit, so it gets the
// CPU soon but cannot claim all the time it slept.
#pragma once

#include "core/sched/thread.hh"

namespace oblako::sched {

class run_queue {
public:
  // Units: nanoseconds of virtual runtime.
  static constexpr uint64_t sleeper_credit = 3'000'000;
  // A woken thread takes the CPU from the running one only if it is behind by more than this.
  static constexpr uint64_t wakeup_granularity = 1'000'000;

  bool empty() const { return threads_.empty(); }
  uint64_t floor() const { return floor_; }

  void insert(thread& t) { threads_.insert(t); }
  void erase(thread& t) { threads_.erase(threads_.iterator_to(t)); }

  // Takes out the thread that runs next; nullptr if there is none.
  thread* take_first() {
    if (threads_.empty())
      return nullptr;
    thread& t = *threads_.begin();
    threads_.erase(threads_.begin());
    raise_floor(t.virtual_runtime);
    return &t;
  }

  // Charges CPU time to the running thread (which is not in the queue).
  void charge(thread& running, uint64_t ns) {
    running.virtual_runtime += running.weight == thread::default_weight
                                   ? ns
                                   : ns * thread::default_weight / running.weight;
    uint64_t least = running.virtual_runtime;
    if (!threads_.empty())
      least = min_of(least, threads_.begin()->virtual_runtime);
    raise_floor(least);
  }

  // Brings the virtual runtime of a thread that was not runnable up to date.
  void place(thread& t) {
    const uint64_t earliest = floor_ > sleeper_credit ? floor_ - sleeper_credit : 0;
    t.virtual_runtime = max_of(t.virtual_runtime, earliest);
  }

  // sched_yield: behind the first of those that wait.
  void place_behind_first(thread& running) {
    if (!threads_.empty())
      running.virtual_runtime =
          max_of(running.virtual_runtime, threads_.begin()->virtual_runtime + 1);
  }

  static bool preempts(const thread& woken, const thread& running) {
    return woken.virtual_runtime + wakeup_granularity < running.virtual_runtime;
  }

private:
  struct by_virtual_runtime {
    bool operator()(const thread& a, const thread& b) const {
      return a.virtual_runtime < b.virtual_runtime;
    }
  };
  void raise_floor(uint64_t v) { floor_ = max_of(floor_, v); }

  boost::intrusive::multiset<thread, boost::intrusive::compare<by_virtual_runtime>> threads_;
  uint64_t floor_ = 0;
};

} // namespace oblako::sched
