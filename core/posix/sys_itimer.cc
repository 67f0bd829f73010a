// setitimer, getitimer, alarm: three timers of the process that send a signal.
#include "arch/x64/syscall_entry.hh"
#include "core/base/late.hh"
#include "core/mem/app_memory.hh"
#include "core/posix/interval_timer.hh"
#include "core/posix/time_arguments.hh"
#include "core/sched/wait.hh"
#include <sys/time.h>

namespace {

using namespace oblako;
using namespace oblako::posix;

template <int signo>
void send(interval_timer&, uint64_t) {
  send_process_signal(signo);
}

constinit sched::mutex timers_lock;
// Guarded by timers_lock; made at the first use.
late<interval_timer> timers[3];
bool timers_ready;

interval_timer& timer(int which) {
  if (!timers_ready) {
    timers[ITIMER_REAL].construct(clock_name{clock_kind::monotonic, 0}, send<SIGALRM>);
    // Calls are part of the program here: both clocks of CPU time are the same.
    timers[ITIMER_VIRTUAL].construct(clock_name{clock_kind::process_cpu, 0}, send<SIGVTALRM>);
    timers[ITIMER_PROF].construct(clock_name{clock_kind::process_cpu, 0}, send<SIGPROF>);
    timers_ready = true;
  }
  return *timers[which];
}

result<uint64_t> to_ns(const timeval& t) {
  if (t.tv_usec < 0 || t.tv_usec >= 1'000'000)
    return error::inval;
  return posix::to_ns({t.tv_sec, t.tv_usec * 1000});
}
timeval to_timeval(uint64_t ns) {
  const timespec t = to_timespec(ns);
  return {t.tv_sec, t.tv_nsec / 1000};
}

result<itimerval> present(int which) {
  const auto s = TRY(timer(which).get());
  // What is left is rounded up: 0 would say that no timer is armed.
  return itimerval{to_timeval(s.interval), to_timeval(s.left ? time::later(s.left, 999) : 0)};
}

result<void> set_timer(int which, const itimerval* app_new, itimerval* app_old) {
  if (which < ITIMER_REAL || which > ITIMER_PROF)
    return error::inval;
  itimerval wanted{};
  if (app_new)
    wanted = TRY(mem::read_app(app_new));
  const uint64_t span = TRY(to_ns(wanted.it_value)), interval = TRY(to_ns(wanted.it_interval));
  itimerval old;
  {
    sched::lock_guard guard(timers_lock);
    old = TRY(present(which));
    TRY(timer(which).set_after(span, interval));
  }
  return app_old ? mem::write_app(app_old, old) : result<void>();
}

result<void> get_timer(int which, itimerval* app) {
  if (which < ITIMER_REAL || which > ITIMER_PROF)
    return error::inval;
  itimerval v;
  {
    sched::lock_guard guard(timers_lock);
    v = TRY(present(which));
  }
  return mem::write_app(app, v);
}

// Returns the seconds that were left of an earlier alarm, at least 1 if there was one.
result<unsigned> set_alarm(unsigned seconds) {
  sched::lock_guard guard(timers_lock);
  const uint64_t left = TRY(timer(ITIMER_REAL).get()).left;
  TRY(timer(ITIMER_REAL).set_after(seconds * time::ns_per_s, 0));
  const auto rounded = static_cast<unsigned>((left + time::ns_per_s / 2) / time::ns_per_s);
  return left ? max_of(1u, rounded) : 0u;
}

} // namespace

OBLAKO_SYSCALL(sys_setitimer, do_setitimer);
OBLAKO_SYSCALL(sys_getitimer, do_getitimer);
OBLAKO_SYSCALL(sys_alarm, do_alarm);

extern "C" long do_setitimer(int which, const itimerval* to, itimerval* old) {
  return to_syscall(set_timer(which, to, old));
}
extern "C" long do_getitimer(int which, itimerval* to) {
  return to_syscall(get_timer(which, to));
}
extern "C" long do_alarm(unsigned seconds) {
  return to_syscall(set_alarm(seconds));
}
