// A timer on any clock that may repeat: what setitimer and timer_create have in common.
#pragma once

#include "core/posix/clock_id.hh"
#include "core/posix/signal.hh"
#include "core/time/timer.hh"

namespace oblako::posix {

class interval_timer : public time::timer {
public:
  // What happens when it expires; `times` counts the expirations since the last call. Context:
  // interrupt.
  using expired_function = void (*)(interval_timer&, uint64_t times);
  interval_timer(clock_name clock, expired_function f);
  ~interval_timer();

  struct setting {
    uint64_t left;     // until the next expiration; 0: not armed
    uint64_t interval; // 0: once
  };
  // At a moment on the timer's clock, or some time from now; 0 disarms. Only the first form follows
  // a wall clock that is set. Units: nanoseconds. Context: thread, and nobody else sets or reads
  // this timer meanwhile. Errors: inval (the clock's thread is gone).
  result<void> set_at(uint64_t moment, uint64_t interval) { return set(clock_, moment, interval); }
  result<void> set_after(uint64_t span, uint64_t interval);
  result<setting> get() const;

private:
  result<void> set(clock_name clock, uint64_t moment, uint64_t interval);
  static void on_deadline(time::timer& t);
  void expire(uint64_t now);
  // Looks at the clock again when it was set.
  struct clock_watch : sched::observer {
    explicit clock_watch(interval_timer& t) : observer(&clock_watch::notify), owner(t) {}
    static bool notify(observer& o, uint32_t events);
    interval_timer& owner;
  };

  clock_watch watch_{*this};
  const clock_name clock_;
  clock_name counting_ = clock_; // what it goes by now
  expired_function expired_;
  // --- changed by the callback while armed
  uint64_t moment_ = 0; // next expiration on that clock; 0: none
  uint64_t interval_ = 0;
};

} // namespace oblako::posix
