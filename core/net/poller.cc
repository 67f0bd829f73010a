// Who runs the network stack, and when. There is no network thread on the fast path:
//
//   * A thread that is about to wait for the network runs the stack itself first (poll()).
//   * If there is nothing to do it registers as a sleeper, has the devices' interrupts enabled and
//     sleeps. A device interrupt or a protocol timer wakes one sleeper, which runs the stack.
//   * If no sleeper is registered, the same event wakes the service thread ("net"), which runs the
//     stack, so that acknowledgements, ARP and timers go on while the application does other
//     things.
//   * While the application computes between two visits, interrupts may be off and frames may be
//     queued that the device has not been told of yet. Then the watchdog timer is armed: if nobody
//     has visited the stack for a watchdog period, the service thread does.
//
// Invariants
//   1. lwIP, the interfaces and the variables marked (L) are touched only under stack_lock. The
//      engine never blocks while holding it.
//   2. Whenever stack_lock is free, at least one holds:
//        a. interrupts are enabled, nothing was waiting when they were, and nothing is queued that
//           the device does not know of;
//        b. the watchdog is armed (it fires within one period);
//        c. a thread that was notified, or has just found work, is runnable and will enter the
//           stack before it sleeps.
//      (a) is made by wait_begin() and the service thread, (b) by leave_stack(), and an event turns
//      (a) into (c).
//   3. No lost wake-up: a sleeper registers first, then interrupts are enabled, which reports work
//      that arrived before; only then does it sleep. An event looks for a sleeper first and for the
//      service thread second; a sleeper that takes its registration back, for whatever reason, runs
//      the stack afterwards (contract of wait_end), so an event that was aimed at it is not lost.
//   4. The timer for protocol deadlines is armed for the engine's next deadline whenever the lock
//      is released, so timers run even if no frame ever arrives.
//   5. Interrupt handlers and timer callbacks only notify.
#include "core/net/poller.hh"

#include "core/base/late.hh"
#include "core/log/log.hh"
#include "core/net/engine.hh"
#include "core/net/service.hh"
#include "core/net/stack.hh"
#include "core/time/timer.hh"

namespace oblako::net {

// True while (a) or (b) of invariant 2 holds, or an interrupt has just turned (a) into (c): nothing
// to do for who merely passed through the stack.
bool watched;

namespace {

constexpr uint64_t watchdog_period = 2 * time::ns_per_ms;

constinit sched::wait_queue sleepers;      // application threads that wait for the network
constinit sched::wait_queue service_queue; // the service thread
uint32_t service_wanted;                   // atomic

late<time::timer> watchdog;
late<time::timer> protocol_timer;
bool started;

uint32_t interrupts_on; // atomic: set under the lock, cleared also by an interrupt
uint32_t visits;        // (L) for the watchdog; read anywhere
uint32_t visits_seen;   // the watchdog's own
uint64_t armed_deadline = time::no_deadline; // (L)
unsigned writes_expected;                    // (L)

void wake_service() {
  __atomic_store_n(&service_wanted, 1, __ATOMIC_SEQ_CST);
  service_queue.wake_all();
}

bool idle() {
  return __atomic_load_n(&interrupts_on, __ATOMIC_RELAXED) && !engine::transmit_pending();
}

void watchdog_fired(time::timer& t) {
  if (idle())
    return;
  const uint32_t now_seen = __atomic_load_n(&visits, __ATOMIC_RELAXED);
  if (now_seen == visits_seen) {
    __atomic_store_n(&watched, false, __ATOMIC_RELAXED);
    wake_service();
    return;
  }
  visits_seen = now_seen;
  t.arm(time::monotonic_ns() + watchdog_period);
}

// Wakes whoever is to run the stack next.
void wake_somebody() {
  if (!sleepers.empty())
    sleepers.wake_one();
  else
    wake_service();
}

void protocol_timer_fired(time::timer&) {
  wake_somebody();
}

void note_interrupts(bool on) {
  __atomic_store_n(&interrupts_on, on, __ATOMIC_SEQ_CST);
}

// The lock is held. True if interrupts are on now and there was nothing to do.
bool settle() {
  if (engine::transmit_pending())
    engine::tell_devices();
  // Noted first: an interrupt from here on takes the note back.
  note_interrupts(true);
  if (engine::enable_interrupts())
    return true;
  note_interrupts(false);
  return false;
}

bool run_locked() {
  __atomic_store_n(&visits, visits + 1, __ATOMIC_RELAXED);
  const bool worked = engine::run();
  // With work coming in, interrupts would only disturb the application; without, they are the best
  // way to learn of the next.
  if (worked && __atomic_load_n(&interrupts_on, __ATOMIC_RELAXED)) {
    engine::disable_interrupts();
    note_interrupts(false);
  }
  return worked;
}

void service_thread(void*) {
  for (;;) {
    (void)sched::wait_until(
        service_queue,
        [] { return __atomic_exchange_n(&service_wanted, 0, __ATOMIC_SEQ_CST) != 0; },
        time::no_deadline, sched::interruptible::no);
    for (bool settled = false; !settled; sched::yield_if_needed()) {
      stack_lock.lock();
      run_locked();
      settled = settle();
      leave_stack();
      stack_lock.unlock();
    }
  }
}

} // namespace

void device_interrupt(void*) {
  note_interrupts(false); // one interrupt is all a device raises until it is enabled again
  wake_somebody();
}

void expect_writes(unsigned count) {
  writes_expected = count;
}

void leave_stack() {
  if (engine::transmit_pending()) {
    // Several replies are on their way: one notification for all of them.
    if (writes_expected > 1)
      --writes_expected;
    else
      engine::tell_devices();
  }
  if (!idle() && !watchdog->armed())
    watchdog->arm(time::monotonic_ns() + watchdog_period);
  __atomic_store_n(&watched, true, __ATOMIC_RELAXED);
  const uint64_t deadline = engine::next_timer();
  if (deadline != armed_deadline) {
    armed_deadline = deadline;
    if (deadline == time::no_deadline)
      protocol_timer->cancel();
    else
      protocol_timer->arm(deadline);
  }
}

void start_service() {
  watchdog.construct(watchdog_fired);
  protocol_timer.construct(protocol_timer_fired);
  if (!sched::start_kernel_thread("net", service_thread, nullptr).ok())
    log::panic("net: no memory for the service thread");
  started = true;
}

bool poll() {
  if (!started || !stack_lock.try_lock())
    return false; // whoever is in the stack leaves it in a state that is looked after
  const bool worked = run_locked();
  leave_stack();
  stack_lock.unlock();
  return worked;
}

bool wait_begin(sched::observer& o) {
  if (!started)
    return true;
  sleepers.add(o);
  stack_lock.lock();
  const bool settled = settle();
  leave_stack();
  stack_lock.unlock();
  if (!settled)
    sleepers.remove(o);
  return settled;
}

void wait_end(sched::observer& o) {
  if (started)
    sleepers.remove(o);
}

} // namespace oblako::net
