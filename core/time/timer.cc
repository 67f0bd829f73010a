// The timer queue: armed timers by deadline, run by the timer interrupt.
//
// A timer is out of the queue while its callback runs, so the callback may arm it again. `running`
// is what cancel() on another CPU waits for; on the same CPU a callback cannot be in progress,
// since it runs to its end in the interrupt handler.
#include "core/time/timer.hh"

#include "arch/x64/percpu.hh"
#include "core/base/late.hh"
#include "core/sched/spinlock.hh"
#include "core/time/clock.hh"
#include "core/time/deadline.hh"

namespace oblako::time {

class timer_queue {
public:
  void arm(timer& t, uint64_t deadline_ns) {
    sched::spinlock_guard guard(lock_);
    if (t.is_linked())
      timers_.erase(timers_.iterator_to(t));
    t.deadline_ = deadline_ns;
    if (deadline_ns == no_deadline)
      return;
    timers_.insert(t);
    if (&*timers_.begin() == &t)
      request_interrupt_by(deadline_ns);
  }

  bool cancel(timer& t) {
    for (;;) {
      {
        sched::spinlock_guard guard(lock_);
        if (t.is_linked()) {
          timers_.erase(timers_.iterator_to(t));
          return true;
        }
        if (running_ != &t || running_on_ == arch::this_cpu().cpu_number)
          return false;
      }
      arch::pause();
    }
  }

  // However many timers are due at once, the interrupt stays short: the rest have to wait for
  // others, who get as much of the CPU in between.
  uint64_t run(uint64_t now) {
    lock_.lock(); // interrupts are off in the handler
    unsigned left = most_at_once;
    for (; left && !timers_.empty() && timers_.begin()->deadline_ <= now; --left) {
      timer& t = *timers_.begin();
      timers_.erase(timers_.begin());
      running_ = &t;
      running_on_ = arch::this_cpu().cpu_number;
      lock_.unlock();
      t.fn_(t); // may end the life of the timer
      lock_.lock();
      running_ = nullptr;
    }
    uint64_t next = timers_.empty() ? no_deadline : timers_.begin()->deadline_;
    lock_.unlock();
    if (!left && next <= now) {
      const uint64_t end = monotonic_ns();
      next = end + (end - now);
    }
    return next;
  }

private:
  static constexpr unsigned most_at_once = 64;
  struct by_deadline {
    bool operator()(const timer& a, const timer& b) const { return a.deadline_ < b.deadline_; }
  };
  sched::spinlock lock_{sched::lock_rank::timer};
  // --- guarded by lock_
  boost::intrusive::multiset<timer, boost::intrusive::compare<by_deadline>> timers_;
  timer* running_ = nullptr;
  uint32_t running_on_ = 0;
};

namespace {

late<timer_queue> the_queue;
bool queue_ready;

// Made at the first use: most images arm no timer while they boot.
timer_queue& queue() {
  if (!queue_ready) [[unlikely]] {
    prepare_interrupts();
    the_queue.construct();
    queue_ready = true;
  }
  return *the_queue;
}

} // namespace

void timer::arm(uint64_t deadline_ns) {
  queue().arm(*this, deadline_ns);
}

bool timer::cancel() {
  return queue_ready && queue().cancel(*this);
}

} // namespace oblako::time

// Called by oblako_timer_interrupt(). Returns the next deadline.
extern "C" uint64_t oblako_run_timers(uint64_t now) {
  return oblako::time::queue_ready ? oblako::time::queue().run(now) : oblako::time::no_deadline;
}
