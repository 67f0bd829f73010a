// The scheduler's calls. Niceness is a real share of the CPU; policies and real-time priorities are
// recorded, every thread is scheduled fairly all the same.
#include "arch/x64/syscall_entry.hh"
#include "core/mem/app_memory.hh"
#include "core/posix/time_arguments.hh"
#include "core/sched/cpu_state.hh"
#include <sched.h>

namespace oblako::sched {
// Without clone there is only the running thread.
[[gnu::weak]] thread* find_thread(int32_t tid);
extern spinlock thread_table_lock [[gnu::weak]];
} // namespace oblako::sched

namespace {

using namespace oblako;

constexpr int32_t process_id = 1;

// Calls f on the thread with that number (0: the caller). Errors: srch, and f's.
template <class F>
auto with_thread(int32_t tid, F f) -> decltype(f(sched::current())) {
  if (tid < 0)
    return error::inval;
  sched::thread& self = sched::current();
  if (tid == 0 || tid == self.tid)
    return f(self);
  if (!sched::find_thread)
    return error::srch;
  sched::spinlock_guard guard(sched::thread_table_lock);
  sched::thread* t = sched::find_thread(tid);
  if (!t || !t->is_application)
    return error::srch;
  return f(*t);
}

struct priority_range {
  int lowest, highest;
};
result<priority_range> range_of(int policy) {
  switch (policy) {
  case SCHED_FIFO:
  case SCHED_RR:
    return priority_range{1, 99};
  case SCHED_OTHER:
  case SCHED_BATCH:
  case SCHED_IDLE:
    return priority_range{0, 0};
  default:
    return error::inval;
  }
}

constexpr int reset_on_fork = 0x40000000; // SCHED_RESET_ON_FORK: there is no fork

result<void> set_policy(int32_t tid, int policy, const sched_param* app) {
  const int priority = TRY(mem::read_app(&app->sched_priority));
  policy &= ~reset_on_fork;
  return with_thread(tid, [&](sched::thread& t) -> result<void> {
    const int actual = policy < 0 ? t.policy : policy;
    const auto range = TRY(range_of(actual));
    if (priority < range.lowest || priority > range.highest)
      return error::inval;
    t.policy = static_cast<uint8_t>(actual);
    t.realtime_priority = priority;
    return {};
  });
}

constexpr int keep_policy = -1;

result<int> get_priority(int32_t tid) {
  return with_thread(tid, [](sched::thread& t) -> result<int> { return t.realtime_priority; });
}

result<void> get_parameters(int32_t tid, sched_param* app) {
  return mem::write_app(&app->sched_priority, TRY(get_priority(tid)));
}

// One CPU, number 0: an affinity must contain it.
constexpr uint64_t all_cpus = 1;

result<void> set_affinity(int32_t tid, size_t bytes, const uint8_t* app) {
  const uint8_t first = bytes ? TRY(mem::read_app(app)) : uint8_t{0};
  if (!(first & all_cpus))
    return error::inval;
  return with_thread(tid, [](sched::thread&) { return result<void>(); });
}

result<size_t> get_affinity(int32_t tid, size_t bytes, uint64_t* app) {
  if (bytes < sizeof(all_cpus) || bytes % sizeof(all_cpus))
    return error::inval;
  TRY(with_thread(tid, [](sched::thread&) { return result<void>(); }));
  TRY(mem::write_app(app, all_cpus));
  return sizeof(all_cpus);
}

constexpr int lowest_nice = 19, highest_nice = -20;

// Each step is a tenth of the CPU between two busy threads: a factor of 1.25.
uint32_t weight_of(int nice) {
  uint64_t w = sched::thread::default_weight;
  for (int i = 0; i < nice; ++i)
    w = w * 4 / 5;
  for (int i = 0; i > nice; --i)
    w = w * 5 / 4;
  return static_cast<uint32_t>(w);
}

enum priority_which : int { of_process = 0, of_group = 1, of_user = 2 };

result<int32_t> thread_for(int which, int32_t who) {
  if (which == of_process)
    return who;
  if (which == of_group || which == of_user)
    return who == 0 || who == process_id ? result<int32_t>(0) : result<int32_t>(error::srch);
  return error::inval;
}

result<void> set_nice(int which, int32_t who, int nice) {
  nice = max_of(highest_nice, min_of(lowest_nice, nice));
  return with_thread(TRY(thread_for(which, who)), [&](sched::thread& t) -> result<void> {
    t.nice = static_cast<int8_t>(nice);
    t.weight = weight_of(nice);
    return {};
  });
}

// The call's result is 20 - nice, so that it is not taken for an error.
result<int> get_nice(int which, int32_t who) {
  return with_thread(TRY(thread_for(which, who)),
                     [](sched::thread& t) -> result<int> { return lowest_nice + 1 - t.nice; });
}

} // namespace

OBLAKO_SYSCALL(sys_sched_yield, do_sched_yield);
OBLAKO_SYSCALL(sys_sched_setscheduler, do_sched_setscheduler);
OBLAKO_SYSCALL(sys_sched_setparam, do_sched_setparam);
OBLAKO_SYSCALL(sys_sched_getscheduler, do_sched_getscheduler);
OBLAKO_SYSCALL(sys_sched_getparam, do_sched_getparam);
OBLAKO_SYSCALL(sys_sched_rr_get_interval, do_sched_rr_get_interval);
OBLAKO_SYSCALL(sys_sched_setaffinity, do_sched_setaffinity);
OBLAKO_SYSCALL(sys_sched_getaffinity, do_sched_getaffinity);
OBLAKO_SYSCALL(sys_setpriority, do_setpriority);
OBLAKO_SYSCALL(sys_getpriority, do_getpriority);

extern "C" {

long do_sched_yield() {
  sched::yield();
  return 0;
}
long do_sched_setscheduler(int32_t tid, int policy, const sched_param* p) {
  return policy < 0 ? -static_cast<long>(error::inval) : to_syscall(set_policy(tid, policy, p));
}
long do_sched_setparam(int32_t tid, const sched_param* p) {
  return to_syscall(set_policy(tid, keep_policy, p));
}
long do_sched_getscheduler(int32_t tid) {
  return to_syscall(
      with_thread(tid, [](sched::thread& t) -> result<int> { return int{t.policy}; }));
}
long do_sched_getparam(int32_t tid, sched_param* p) {
  return to_syscall(get_parameters(tid, p));
}
long sys_sched_get_priority_max(int policy) {
  auto r = range_of(policy);
  return r.ok() ? r->highest : -static_cast<long>(r.code());
}
long sys_sched_get_priority_min(int policy) {
  auto r = range_of(policy);
  return r.ok() ? r->lowest : -static_cast<long>(r.code());
}
long do_sched_rr_get_interval(int32_t tid, timespec* to) {
  auto found = with_thread(tid, [](sched::thread&) { return result<void>(); });
  return found.ok() ? to_syscall(mem::write_app(to, posix::to_timespec(sched::time_slice)))
                    : to_syscall(found);
}
long do_sched_setaffinity(int32_t tid, size_t bytes, const uint8_t* mask) {
  return to_syscall(set_affinity(tid, bytes, mask));
}
long do_sched_getaffinity(int32_t tid, size_t bytes, uint64_t* mask) {
  return to_syscall(get_affinity(tid, bytes, mask));
}
long sys_getcpu(unsigned* cpu, unsigned* node) {
  if (cpu)
    if (auto r = mem::write_app(cpu, arch::this_cpu().cpu_number); !r.ok())
      return to_syscall(r);
  return node ? to_syscall(mem::write_app(node, 0u)) : 0;
}
long do_setpriority(int which, int32_t who, int nice) {
  return to_syscall(set_nice(which, who, nice));
}
long do_getpriority(int which, int32_t who) {
  return to_syscall(get_nice(which, who));
}
}
