// How a thread that waits for the network runs the network itself. There is no network thread on
// this path: before a caller decides to sleep it lets the stack run (poll), and if it then sleeps,
// the device's interrupt wakes that thread, which runs the stack again.
//
// poll(), wait_begin() and wait_end() are offered by the network and referred to weakly: an image
// without sockets links and runs none of this.
#pragma once

#include "arch/x64/percpu.hh"
#include "core/base/result.hh"
#include "core/sched/thread.hh"
#include "core/sched/wait.hh"
#include "core/time/clock.hh"

namespace oblako::net {

// Runs the devices and the stack once: takes what has been received, lets due protocol timers run,
// sends what is queued. Returns true if it did any work. If another thread is in the stack, waits
// for it or returns false, as suits the stack. Context: thread, no lock of the caller's that the
// stack's callbacks (file::readiness() and so on) could need.
[[gnu::weak]] bool poll();

// Registers `o` to be notified when there may be work for poll(): a device interrupt, or the next
// protocol timer is due. Returns false, with nothing registered, if work is there already (poll
// again instead of sleeping). One interrupt need wake one registered observer only; notify() of
// these observers returns true. Context: thread.
[[gnu::weak]] bool wait_begin(sched::observer& o);
// Takes the registration back. If nobody is registered any more, the network sees to itself (a
// thread of its own, interrupts) when work arrives. Context: thread.
[[gnu::weak]] void wait_end(sched::observer& o);

inline bool present() {
  return poll != nullptr;
}

// One sleeping thread's registration with the network.
class poller_wait : sched::observer {
public:
  explicit poller_wait(sched::thread_waiter& w) : observer(notify), waiter_(w) {}
  // False: there is work; poll() and test the condition again before begin() is called again.
  bool begin() { return !present() || wait_begin(*this); }
  void end() {
    if (present())
      wait_end(*this);
  }

private:
  static bool notify(sched::observer& o, uint32_t events) {
    return sched::thread_waiter::wake(static_cast<poller_wait&>(o).waiter_, events);
  }
  sched::thread_waiter& waiter_;
};

// Sleeps until `waiter` is notified, there was work for the network (which has then been run), or
// the deadline passed. The caller has registered `waiter` where it matters and tests its condition
// before each call. Errors: as thread_waiter::sleep().
inline result<void> sleep_or_poll(sched::thread_waiter& waiter, uint64_t deadline_ns,
                                  bool interruptible_wait) {
  constexpr uint64_t at_once = 0;
  poller_wait network(waiter);
  const bool registered = network.begin();
  // With work at hand nobody sleeps, but a signal, a cancellation or the deadline still ends the
  // wait.
  auto slept = waiter.sleep(registered ? deadline_ns : at_once, interruptible_wait);
  if (registered)
    network.end();
  else if (slept.code() == error::timedout && time::monotonic_ns() < deadline_ns)
    slept = result<void>();
  // Also after a timeout: the interrupt's one wake-up may have been this thread's.
  if (present())
    poll();
  if (!registered)
    sched::yield_if_needed();
  return slept;
}

// sched::wait_until() for conditions that the network makes true: runs the stack before sleeping
// and whenever the device has something. Errors: as sched::wait_until().
template <class Predicate>
result<void> wait_until(sched::wait_queue& queue, Predicate predicate,
                        uint64_t deadline_ns = time::no_deadline,
                        sched::interruptible i = sched::interruptible::yes) {
  if (predicate())
    return {};
  if (present() && poll() && predicate())
    return {};
  sched::thread_waiter waiter;
  queue.add(waiter);
  result<void> slept;
  bool satisfied;
  while (!(satisfied = predicate()) && slept.ok())
    slept = sleep_or_poll(waiter, deadline_ns, i == sched::interruptible::yes);
  queue.remove(waiter);
  // A wake_one() that chose this waiter, which did not need it, belongs to the next.
  if (waiter.notified())
    queue.wake_one();
  return satisfied ? result<void>() : slept;
}

} // namespace oblako::net
