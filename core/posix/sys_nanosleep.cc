// nanosleep, clock_nanosleep. A handler ends the sleep; what was left is reported for a relative
// one.
#include "arch/x64/syscall_entry.hh"
#include "core/posix/clock_id.hh"
#include "core/posix/time_arguments.hh"
#include "core/posix/wall_clock_watch.hh"

namespace {

using namespace oblako;
using namespace oblako::posix;

// Errors: restart, canceled.
result<void> sleep_until(uint64_t deadline) {
  sched::thread_waiter nobody;
  auto r = nobody.sleep(deadline, true);
  return r.code() == error::timedout ? result<void>() : r;
}

result<void> sleep_for(uint64_t ns, timespec* app_left) {
  const uint64_t deadline = call_deadline(ns);
  auto slept = sleep_until(deadline);
  if (slept.code() != error::restart)
    return slept;
  if (app_left) {
    const uint64_t now = time::monotonic_ns();
    TRY(mem::write_app(app_left, to_timespec(deadline > now ? deadline - now : 0)));
  }
  return interrupted_at(deadline);
}

// Errors: restart, canceled. `waiter` is notified when the wall clock is set.
result<void> sleep_on(sched::thread_waiter& waiter, clock_name clock, uint64_t moment) {
  while (TRY(read_clock(clock)) < moment) {
    auto slept = waiter.sleep(TRY(deadline_on_clock(clock, moment)), true);
    if (!slept.ok() && slept.code() != error::timedout)
      return slept;
  }
  return {};
}

// Until the clock shows `moment`.
result<void> sleep_until_clock(clock_name clock, uint64_t moment) {
  sched::thread_waiter waiter;
  if (clock.kind == clock_kind::wall)
    watch_wall_clock(waiter);
  auto slept = sleep_on(waiter, clock, moment);
  unwatch_wall_clock(waiter);
  return slept.code() == error::restart ? error::restart_no_handler : slept;
}

result<void> clock_sleep(int id, int flags, const timespec* app_span, timespec* app_left) {
  const auto clock = TRY(parse_clock(id));
  if (clock.kind == clock_kind::thread_cpu && (clock.tid == 0 || clock.tid == sched::current().tid))
    return error::inval; // would never end
  const uint64_t ns = TRY(ns_from_app(app_span));
  if (flags & TIMER_ABSTIME)
    return sleep_until_clock(clock, ns);
  // Setting the wall clock does not change how long a relative sleep takes.
  if (clock.kind == clock_kind::monotonic || clock.kind == clock_kind::wall)
    return sleep_for(ns, app_left);
  return sleep_until_clock(clock, time::later(TRY(read_clock(clock)), ns));
}

result<void> plain_sleep(const timespec* app_span, timespec* app_left) {
  return sleep_for(TRY(ns_from_app(app_span)), app_left);
}

} // namespace

OBLAKO_SYSCALL_RESTARTABLE(sys_nanosleep, do_nanosleep);
OBLAKO_SYSCALL_RESTARTABLE(sys_clock_nanosleep, do_clock_nanosleep);

extern "C" long do_nanosleep(const timespec* span, timespec* left) {
  return to_syscall(plain_sleep(span, left));
}
extern "C" long do_clock_nanosleep(int id, int flags, const timespec* span, timespec* left) {
  return to_syscall(clock_sleep(id, flags, span, left));
}
