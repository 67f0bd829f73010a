// Times as system calls take them: an application's timespec and clock to a monotonic deadline.
#pragma once

#include "core/mem/app_memory.hh"
#include "core/sched/thread.hh"
#include "core/time/clock.hh"
#include <time.h>

namespace oblako::posix {

// Saturates: what lies beyond 584 years is for ever. Errors: inval (negative, or not normalised).
inline result<uint64_t> to_ns(const timespec& t) {
  constexpr uint64_t most_seconds = time::no_deadline / time::ns_per_s - 1;
  if (t.tv_sec < 0 || static_cast<uint64_t>(t.tv_nsec) >= time::ns_per_s)
    return error::inval;
  if (static_cast<uint64_t>(t.tv_sec) > most_seconds)
    return time::no_deadline;
  return static_cast<uint64_t>(t.tv_sec) * time::ns_per_s + static_cast<uint64_t>(t.tv_nsec);
}

inline timespec to_timespec(uint64_t ns) {
  return {static_cast<time_t>(ns / time::ns_per_s), static_cast<long>(ns % time::ns_per_s)};
}

// Errors: fault, inval.
inline result<uint64_t> ns_from_app(const timespec* app) {
  auto t = mem::read_app(app);
  if (!t.ok())
    return t.code();
  return to_ns(t.value());
}

// The monotonic moment `ns` from now.
inline uint64_t deadline_after(uint64_t ns) {
  return time::later(time::monotonic_ns(), ns);
}

// The deadline of a call with a timeout of `ns`: if a signal interrupted it and no handler ran, it
// is made again and keeps the deadline it had. The call returns error::restart_no_handler through
// interrupted_at() then.
inline uint64_t call_deadline(uint64_t ns) {
  sched::thread& self = sched::current();
  const uint64_t kept = self.restart_deadline;
  self.restart_deadline = 0;
  return kept ? kept : deadline_after(ns);
}
inline error interrupted_at(uint64_t deadline) {
  sched::current().restart_deadline = deadline;
  return error::restart_no_handler;
}

// The monotonic moment at which the wall clock will show `wall` if nobody sets it.
inline uint64_t deadline_of_wall(uint64_t wall) {
  const uint64_t now = time::wall_ns();
  return wall == time::no_deadline ? wall : wall <= now ? 0 : deadline_after(wall - now);
}

} // namespace oblako::posix
