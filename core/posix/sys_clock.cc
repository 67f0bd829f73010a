// Reading clocks. The two clocks everybody asks for are read in leaf calls on the application's
// stack; all others, which take locks, in clock_id.cc behind a stub. The two calls that servers
// make with every request have no array on the stack, and no canary.
#include "arch/x64/syscall_entry.hh"
#include "core/base/needs.hh"
#include "core/mem/app_memory.hh"
#include "core/posix/clock_id.hh"
#include "core/posix/time_arguments.hh"
#include <sys/time.h>

using namespace oblako;

namespace {

struct timezone_fields { // obsolete second result of gettimeofday
  int minutes_west, daylight;
};

} // namespace

OBLAKO_SYSCALL(oblako_read_other_clock, do_read_other_clock);

extern "C" {

long oblako_read_other_clock(int id, timespec* to);

long do_read_other_clock(int id, timespec* to) {
  auto name = posix::parse_clock(id);
  if (!name.ok())
    return -static_cast<long>(name.code());
  auto ns = posix::read_clock(*name);
  if (!ns.ok())
    return to_syscall(ns);
  return to_syscall(mem::write_app(to, posix::to_timespec(*ns)));
}

[[gnu::no_stack_protector]] long sys_clock_gettime(int id, timespec* to) {
  OBLAKO_NEEDS(oblako_futex_alone); // timed waits
  uint64_t ns;
  if (id == CLOCK_REALTIME)
    ns = time::wall_ns();
  else if (id == CLOCK_MONOTONIC)
    ns = time::monotonic_ns();
  else
    return oblako_read_other_clock(id, to);
  return to_syscall(mem::write_app(to, posix::to_timespec(ns)));
}

[[gnu::no_stack_protector]] long sys_gettimeofday(timeval* to, timezone_fields* zone) {
  const uint64_t us = time::wall_ns() / 1000;
  const timeval now = {static_cast<time_t>(us / 1'000'000), static_cast<long>(us % 1'000'000)};
  if (to)
    if (auto r = mem::write_app(to, now); !r.ok())
      return to_syscall(r);
  return zone ? to_syscall(mem::write_app(zone, timezone_fields{0, 0})) : 0;
}

long sys_time(time_t* to) {
  const auto seconds = static_cast<time_t>(time::wall_ns() / time::ns_per_s);
  if (to)
    if (auto r = mem::write_app(to, seconds); !r.ok())
      return to_syscall(r);
  return seconds;
}

long sys_clock_getres(int id, timespec* to) {
  auto name = posix::parse_clock(id);
  if (!name.ok())
    return -static_cast<long>(name.code());
  return to ? to_syscall(mem::write_app(to, timespec{0, 1})) : 0;
}
}
