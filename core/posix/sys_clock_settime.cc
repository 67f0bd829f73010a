// Setting the wall clock: there is no other user of this machine to ask.
#include "arch/x64/syscall_entry.hh"
#include "core/posix/clock_id.hh"
#include "core/posix/time_arguments.hh"
#include <sys/time.h>

namespace {

using namespace oblako;

// Errors: inval (so late that the clock might reach the end of 63 bits: Linux leaves it 30 years).
result<void> set_wall_clock(uint64_t ns) {
  constexpr uint64_t spare_ns = 30ull * 365 * 86400 * time::ns_per_s;
  if (ns > (uint64_t{1} << 63) - spare_ns)
    return error::inval;
  time::set_wall_ns(ns);
  posix::wall_clock_set.wake_all();
  return {};
}

result<void> set_clock(int id, const timespec* app) {
  const auto name = TRY(posix::parse_clock(id));
  const uint64_t ns = TRY(posix::ns_from_app(app));
  if (id != CLOCK_REALTIME)
    return name.kind == posix::clock_kind::wall ? error::perm : error::inval;
  return set_wall_clock(ns);
}

result<void> set_time_of_day(const timeval* app) {
  if (!app)
    return {};
  const timeval t = TRY(mem::read_app(app));
  if (t.tv_usec < 0 || t.tv_usec >= 1'000'000)
    return error::inval;
  return set_wall_clock(TRY(posix::to_ns({t.tv_sec, t.tv_usec * 1000})));
}

} // namespace

OBLAKO_SYSCALL(sys_clock_settime, do_clock_settime);
OBLAKO_SYSCALL(sys_settimeofday, do_settimeofday);

extern "C" long do_clock_settime(int id, const timespec* app) {
  return to_syscall(set_clock(id, app));
}
extern "C" long do_settimeofday(const timeval* app, const void*) {
  return to_syscall(set_time_of_day(app));
}
