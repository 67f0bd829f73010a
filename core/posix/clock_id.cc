#include "core/posix/clock_id.hh"

#include "core/posix/time_arguments.hh"
#include "core/sched/thread.hh"
#include <time.h>

namespace oblako::sched {
// Without clone there is only the running thread.
[[gnu::weak]] thread* find_thread(int32_t tid);
extern spinlock thread_table_lock [[gnu::weak]];
} // namespace oblako::sched

namespace oblako::posix {

sched::wait_queue wall_clock_set;

namespace {

constexpr int32_t process_id = 1;

result<clock_name> parse_dynamic(int id) {
  // ~number << 3, a bit for threads, two for the kind of CPU time, which is all one here.
  constexpr int thread_bit = 4, kind_mask = 3, no_kind = 3;
  const int32_t number = ~(id >> 3);
  if ((id & kind_mask) == no_kind)
    return error::inval;
  if (id & thread_bit)
    return clock_name{clock_kind::thread_cpu, number};
  if (number != 0 && number != process_id)
    return error::inval;
  return clock_name{clock_kind::process_cpu, 0};
}

result<uint64_t> cpu_time_of(int32_t tid) {
  sched::thread& self = sched::current();
  if (tid == 0 || tid == self.tid)
    return sched::thread_cpu_ns(self);
  if (!sched::find_thread)
    return error::inval;
  sched::spinlock_guard guard(sched::thread_table_lock);
  const sched::thread* t = sched::find_thread(tid);
  if (!t)
    return error::inval;
  return sched::thread_cpu_ns(*t);
}

} // namespace

result<clock_name> parse_clock(int id) {
  constexpr int alarm_of_realtime = 8, alarm_of_boottime = 9, atomic_time = 11;
  switch (id) {
  case CLOCK_REALTIME:
  case CLOCK_REALTIME_COARSE:
  case alarm_of_realtime:
  case atomic_time:
    return clock_name{clock_kind::wall, 0};
  case CLOCK_MONOTONIC:
  case CLOCK_MONOTONIC_RAW:
  case CLOCK_MONOTONIC_COARSE:
  case CLOCK_BOOTTIME:
  case alarm_of_boottime:
    return clock_name{clock_kind::monotonic, 0};
  case CLOCK_PROCESS_CPUTIME_ID:
    return clock_name{clock_kind::process_cpu, 0};
  case CLOCK_THREAD_CPUTIME_ID:
    return clock_name{clock_kind::thread_cpu, 0};
  default:
    return id < 0 ? parse_dynamic(id) : result<clock_name>(error::inval);
  }
}

result<uint64_t> read_clock(clock_name c) {
  switch (c.kind) {
  case clock_kind::wall:
    return time::wall_ns();
  case clock_kind::monotonic:
    return time::monotonic_ns();
  case clock_kind::process_cpu:
    return sched::process_cpu_ns();
  case clock_kind::thread_cpu:
    return cpu_time_of(c.tid);
  }
  return error::inval;
}

result<uint64_t> deadline_on_clock(clock_name c, uint64_t ns) {
  if (c.kind == clock_kind::monotonic)
    return ns;
  if (c.kind == clock_kind::wall)
    return deadline_of_wall(ns);
  const uint64_t now = TRY(read_clock(c));
  // CPU time of an idle process stands still: look again now and then, not all the time.
  constexpr uint64_t least_look = time::ns_per_ms;
  return ns <= now ? 0 : deadline_after(max_of(ns - now, least_look));
}

} // namespace oblako::posix
