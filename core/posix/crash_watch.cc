#include "core/posix/crash_watch.hh"
#include "core/base/late.hh"
#include "core/log/log.hh"
#include "core/time/clock.hh"
#include "core/time/timer.hh"

namespace oblako::posix {
namespace {

constexpr uint64_t limit_ns = 10 * time::ns_per_s;

void on_limit(time::timer&);

struct {
  sched::thread* thread = nullptr;
  int signo = 0;
  uint64_t flags = 0;
  uintptr_t stack = 0;
} watch;
late<time::timer> limit; // made when the first handler is watched
bool limit_made;

bool left_by_longjmp() {
  const bool reset = watch.flags & SA_RESETHAND;
  const bool installed_again = signal_actions[watch.signo - 1].handler != default_handler;
  return reset ? installed_again : !(watch.thread->signals.blocked & bit_of(watch.signo));
}

void on_limit(time::timer&) {
  int signo;
  {
    sched::spinlock_guard guard(signal_lock);
    if (!watch.thread)
      return;
    const bool left = left_by_longjmp();
    watch.thread = nullptr;
    if (left)
      return;
    signo = watch.signo;
  }
  log::error("oblako: the application's own handler of its crash did not end within 10 s");
  oblako_fatal_signal(nullptr, signo, 0, 0);
}

bool is_crash(int signo) {
  return signo == SIGSEGV || signo == SIGBUS || signo == SIGILL || signo == SIGFPE ||
         signo == SIGABRT;
}

} // namespace

void watch_crash_handler(int signo, const signal_action& action, uintptr_t stack) {
  const uint64_t traceless = action.flags & (SA_NODEFER | SA_RESETHAND);
  if (!is_crash(signo) || traceless == SA_NODEFER)
    return;
  {
    sched::spinlock_guard guard(signal_lock);
    if (watch.thread)
      return;
    watch.thread = &sched::current();
    watch.signo = signo;
    watch.flags = action.flags;
    watch.stack = stack;
    if (!limit_made)
      limit.construct(on_limit);
    limit_made = true;
  }
  limit->arm(time::monotonic_ns() + limit_ns);
}

void leave_crash_handler(uintptr_t stack) {
  {
    sched::spinlock_guard guard(signal_lock);
    if (watch.thread != &sched::current() || watch.stack != stack)
      return;
    watch.thread = nullptr;
  }
  limit->cancel();
}

void forget_crash_handler(const sched::thread& t) {
  if (watch.thread == &t)
    watch.thread = nullptr;
}

} // namespace oblako::posix
