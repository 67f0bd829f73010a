// times and getrusage. All CPU time counts as user time: calls are part of the program here.
#include "arch/x64/syscall_entry.hh"
#include "core/mem/app_memory.hh"
#include "core/mem/areas.hh"
#include "core/posix/time_arguments.hh"
#include "core/sched/thread.hh"
#include <sys/resource.h>
#include <sys/times.h>

using namespace oblako;

namespace {

constexpr uint64_t ns_per_tick = time::ns_per_s / 100; // sysconf(_SC_CLK_TCK)

// Linux's struct is shorter than musl's, which reserves room at the end.
constexpr size_t kernel_rusage_bytes = 144;

result<void> usage(int who, rusage* app) {
  rusage u{};
  uint64_t ns = 0;
  if (who == RUSAGE_SELF)
    ns = sched::process_cpu_ns();
  else if (who == RUSAGE_THREAD)
    ns = sched::thread_cpu_ns(sched::current());
  else if (who != RUSAGE_CHILDREN)
    return error::inval;
  const timespec t = posix::to_timespec(ns);
  u.ru_utime = {t.tv_sec, t.tv_nsec / 1000};
  if (who != RUSAGE_CHILDREN)
    u.ru_maxrss = static_cast<long>(mem::area_usage().resident_bytes / 1024);
  return mem::copy_to_app(app, &u, kernel_rusage_bytes);
}

} // namespace

OBLAKO_SYSCALL(sys_times, do_times);
OBLAKO_SYSCALL(sys_getrusage, do_getrusage);
extern "C" long do_times(tms* to) {
  if (to) {
    const auto ticks = static_cast<clock_t>(sched::process_cpu_ns() / ns_per_tick);
    if (auto r = mem::write_app(to, tms{ticks, 0, 0, 0}); !r.ok())
      return to_syscall(r);
  }
  return static_cast<long>(time::monotonic_ns() / ns_per_tick);
}

extern "C" long do_getrusage(int who, rusage* to) {
  return to_syscall(usage(who, to));
}
