#include "core/posix/interval_timer.hh"

#include "core/base/types.hh"
#include "core/posix/time_arguments.hh"
#include "core/posix/wall_clock_watch.hh"

namespace oblako::posix {

namespace {
uint32_t timers; // how many there are; atomic
} // namespace

interval_timer::interval_timer(clock_name clock, expired_function f)
    : timer(&interval_timer::on_deadline), clock_(clock), expired_(f) {
  __atomic_fetch_add(&timers, 1, __ATOMIC_RELAXED);
}

interval_timer::~interval_timer() {
  unwatch_wall_clock(watch_);
  cancel();
  __atomic_fetch_sub(&timers, 1, __ATOMIC_RELAXED);
}

bool interval_timer::clock_watch::notify(observer& o, uint32_t) {
  static_cast<clock_watch&>(o).owner.arm(0);
  return false;
}

result<void> interval_timer::set_after(uint64_t span, uint64_t interval) {
  const clock_name clock =
      clock_.kind == clock_kind::wall ? clock_name{clock_kind::monotonic, 0} : clock_;
  return set(clock, span ? time::later(TRY(read_clock(clock)), span) : 0, interval);
}

result<void> interval_timer::set(clock_name clock, uint64_t moment, uint64_t interval) {
  unwatch_wall_clock(watch_);
  cancel();
  counting_ = clock;
  moment_ = moment;
  interval_ = interval;
  if (!moment)
    return {};
  if (clock.kind == clock_kind::wall)
    watch_wall_clock(watch_);
  arm(TRY(deadline_on_clock(clock, moment)));
  return {};
}

result<interval_timer::setting> interval_timer::get() const {
  const uint64_t now = TRY(read_clock(counting_));
  const uint64_t moment = __atomic_load_n(&moment_, __ATOMIC_RELAXED);
  if (!moment)
    return setting{0, interval_};
  // Due, but its interrupt is still to come: as short as can be, since 0 means disarmed.
  return setting{moment > now ? moment - now : 1, interval_};
}

void interval_timer::on_deadline(time::timer& t) {
  auto& self = static_cast<interval_timer&>(t);
  if (!self.moment_) // the clock was set while it was not armed
    return;
  auto now = read_clock(self.counting_);
  if (!now.ok()) {
    self.moment_ = 0;
    return;
  }
  if (*now >= self.moment_)
    self.expire(*now);
  if (!self.moment_)
    return;
  // Intervals of nanoseconds must not leave the CPU in this interrupt for ever, however many timers
  // have them; what is missed counts as overrun.
  constexpr uint64_t shortest_of_one = 100'000, share = 4'000;
  const uint64_t shortest =
      max_of(shortest_of_one, share * __atomic_load_n(&timers, __ATOMIC_RELAXED));
  if (auto deadline = deadline_on_clock(self.counting_, self.moment_); deadline.ok())
    self.arm(max_of(*deadline, deadline_after(shortest)));
}

void interval_timer::expire(uint64_t now) {
  uint64_t times = 1;
  if (interval_) {
    const uint64_t missed = (now - moment_) / interval_;
    times += missed;
    moment_ = time::later(moment_ + missed * interval_, interval_);
  } else {
    moment_ = 0;
  }
  expired_(*this, times);
}

} // namespace oblako::posix
