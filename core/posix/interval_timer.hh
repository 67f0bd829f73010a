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
  // `moment` is on the timer's clock; 0 disarms. Units: nanoseconds. Context: thread, and nobody
  // else sets or reads this timer meanwhile. Errors: inval (the clock's thread is gone).
  result<void> set(uint64_t moment, uint64_t interval);
  result<setting> get() const;
  clock_name clock() const { return clock_; }

private:
  static void on_deadline(time::timer& t);
  void expire(uint64_t now);
  // Looks at the clock again when it was set.
  struct clock_watch : sched::observer {
    explicit clock_watch(interval_timer& t) : observer(&clock_watch::notify), owner(t) {}
    static bool notify(observer& o, uint32_t events);
    interval_timer& owner;
  };

  clock_watch watch_{*this};
  clock_name clock_;
  expired_function expired_;
  // --- changed by the callback while armed
  uint64_t moment_ = 0; // next expiration on the clock; 0: none
  uint64_t interval_ = 0;
};

} // namespace oblako::posix
