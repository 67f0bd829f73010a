// Resource limits. The numbers of descriptors and of queued signals are enforced; the others are
// what the program says they are.
#include "arch/x64/syscall_entry.hh"
#include "core/mem/app_memory.hh"
#include "core/posix/fd_table.hh"
#include "core/sched/wait.hh"
#include <sys/resource.h>

namespace oblako::posix {
// core/posix/signal_queue.cc, if the image can send signals.
[[gnu::weak]] uint64_t signal_queue_limit();
[[gnu::weak]] void set_signal_queue_limit(uint64_t limit);
} // namespace oblako::posix

using namespace oblako;
using posix::descriptors;
using posix::fd_table;

namespace {

struct limit {
  uint64_t soft, hard;
};
constexpr uint64_t unlimited = ~uint64_t{0};
constexpr unsigned limit_count = 16; // RLIM_NLIMITS

sched::mutex limits_lock;
limit limits[limit_count]; // guarded by limits_lock
bool filled;

limit initial(unsigned which) {
  switch (which) {
  case RLIMIT_STACK:
    return {8_MiB, unlimited};
  case RLIMIT_CORE:
    return {0, 0};
  case RLIMIT_NOFILE:
    return {descriptors.limit(), fd_table::maximum_size};
  case RLIMIT_MEMLOCK:
    return {64_KiB, 64_KiB};
  case RLIMIT_SIGPENDING: {
    const uint64_t most = posix::signal_queue_limit ? posix::signal_queue_limit() : 0;
    return {most, most};
  }
  case RLIMIT_MSGQUEUE:
    return {819200, 819200};
  case RLIMIT_NICE:
  case RLIMIT_RTPRIO:
    return {0, 0};
  }
  return {unlimited, unlimited};
}

result<void> exchange(int pid, unsigned which, const limit* app_new, limit* app_old) {
  if (pid != 0 && pid != 1)
    return error::srch;
  if (which >= limit_count)
    return error::inval;
  limit wanted{};
  if (app_new) {
    wanted = TRY(mem::read_app(app_new));
    if (wanted.soft > wanted.hard)
      return error::inval;
    if (which == RLIMIT_NOFILE && wanted.hard > fd_table::maximum_size)
      return error::perm;
  }
  limit old;
  {
    sched::lock_guard guard(limits_lock);
    for (unsigned i = 0; i < limit_count && !filled; ++i)
      limits[i] = initial(i);
    filled = true;
    old = limits[which];
    if (app_new) {
      limits[which] = wanted;
      if (which == RLIMIT_NOFILE)
        descriptors.set_limit(static_cast<uint32_t>(wanted.soft));
      if (which == RLIMIT_SIGPENDING && posix::set_signal_queue_limit)
        posix::set_signal_queue_limit(wanted.soft);
    }
  }
  return app_old ? mem::write_app(app_old, old) : result<void>();
}

} // namespace

OBLAKO_SYSCALL(sys_prlimit64, do_prlimit64);
extern "C" long do_prlimit64(int pid, unsigned which, const limit* to, limit* old) {
  return to_syscall(exchange(pid, which, to, old));
}

OBLAKO_SYSCALL(sys_getrlimit, do_getrlimit);
extern "C" long do_getrlimit(unsigned which, limit* out) {
  // Unlike prlimit's, this pointer is not optional.
  return to_syscall(out ? exchange(0, which, nullptr, out) : result<void>(error::fault));
}

OBLAKO_SYSCALL(sys_setrlimit, do_setrlimit);
extern "C" long do_setrlimit(unsigned which, const limit* to) {
  return to_syscall(to ? exchange(0, which, to, nullptr) : result<void>(error::fault));
}
