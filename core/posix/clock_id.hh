// Which clock a clockid_t names, and reading it. Clocks of CPU time may belong to a thread.
#pragma once

#include "core/base/result.hh"
#include "core/sched/wait.hh"
#include <stdint.h>

namespace oblako::posix {

enum class clock_kind : uint8_t { wall, monotonic, process_cpu, thread_cpu };

struct clock_name {
  clock_kind kind;
  int32_t tid; // of a thread's CPU clock; 0: the caller's
};

// Errors: inval.
result<clock_name> parse_clock(int id);
// Units: nanoseconds. Errors: inval (that thread is gone). Context: any.
result<uint64_t> read_clock(clock_name c);
// Notified after the wall clock was set: whoever waits for a moment on it computes anew.
extern sched::wait_queue wall_clock_set;
// The monotonic moment at which the clock may first show `ns`: exact for wall (unless it is set)
// and monotonic time, the earliest possible for CPU time. Errors: inval.
result<uint64_t> deadline_on_clock(clock_name c, uint64_t ns);

} // namespace oblako::posix
