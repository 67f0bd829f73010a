// The scheduler proper: blocking, waking, switching, preemption marks. Invariants in cpu_state.hh.
// Spec: none; fairness after the "virtual runtime" family of schedulers.
#include "core/base/needs.hh"
#include "core/sched/cpu_state.hh"

// Absent in an image that neither has a second thread nor uses timers: then there is no slice to
// end and no thread that dies.
namespace oblako::time {
[[gnu::weak]] void request_interrupt_by(uint64_t deadline_ns);
}

namespace oblako::sched {

[[gnu::weak]] void release_dead_thread(thread& t);

namespace {

// What a running thread may keep the CPU for when somebody wakes up without preempting it.
constexpr uint64_t least_slice = 1'000'000;

void charge(cpu_state& cs, thread& t, uint64_t now) {
  const uint64_t ns = now - t.run_started;
  t.run_started = now;
  t.run_total += ns;
  cs.busy_total += ns;
  cs.queue.charge(t, ns);
}

void watch_slice(cpu_state& cs) {
  if (time::request_interrupt_by)
    time::request_interrupt_by(cs.slice_end);
}

void mark_reschedule() {
  OBLAKO_NEEDS(syscall_exit_slow);
  OBLAKO_NEEDS(oblako_return_to_application);
  __atomic_fetch_or(&arch::this_cpu().pending, arch::pending_reschedule, __ATOMIC_RELAXED);
}

} // namespace

// Nothing to run: interrupts off, no lock held, returns the same way after something may have
// become runnable. Its own symbol so that measurements can leave idling out. Polls for a moment
// before it halts if the last halt turned out short: leaving `hlt` costs more than that.
extern "C" [[gnu::noinline]] void oblako_idle() {
  constexpr uint64_t poll_limit = 20'000, short_halt = 50'000; // ns
  cpu_state& cs = this_state();
  const uint64_t start = time::monotonic_ns();
  if (cs.poll_ns) {
    arch::enable_interrupts();
    while (!__atomic_load_n(&cs.kicked, __ATOMIC_RELAXED) &&
           time::monotonic_ns() - start < cs.poll_ns)
      arch::pause();
    arch::disable_interrupts();
    if (__atomic_load_n(&cs.kicked, __ATOMIC_RELAXED))
      return;
  }
  arch::halt_until_interrupt();
  arch::disable_interrupts();
  cs.poll_ns = time::monotonic_ns() - start < short_halt ? poll_limit : 0;
}

namespace {

thread& next_thread(cpu_state& cs) {
  thread* next = cs.queue.take_first();
  if (next) [[likely]]
    return *next;
  cs.idle = true;
  do {
    cs.kicked = 0;
    cs.lock.unlock();
    oblako_idle();
    cs.lock.lock();
  } while (!(next = cs.queue.take_first()));
  cs.idle = false;
  return *next;
}

[[gnu::noinline]] void switch_with_vector_state(thread& self, thread& next) {
  constexpr size_t alignment_bits = 64 * 8;
  void* area = __builtin_alloca_with_align(arch::vector_state_size(), alignment_bits);
  arch::save_vector_state(area);
  arch::switch_context(self.context, next.context);
  arch::restore_vector_state(area);
}

// Runs the next thread. The caller has interrupts off and holds the lock, and has given the current
// thread its new state; the lock is released on return, when the thread runs again.
void switch_away(cpu_state& cs) {
  thread& self = current();
  thread& next = next_thread(cs);
  next.state = thread_state::running;
  next.run_started = time::monotonic_ns();
  cs.slice_end = next.run_started + time_slice;
  if (!cs.queue.empty())
    watch_slice(cs);
  arch::percpu& cpu = arch::this_cpu();
  cpu.pending = __atomic_load_n(&next.pending, __ATOMIC_RELAXED);
  if (&next == &self) {
    cs.lock.unlock();
    return;
  }
  cpu.current = &next;
  cpu.kernel_stack_top = next.kernel_stack_top;
  cs.previous = &self;
  if (self.vector_state_live) [[unlikely]]
    switch_with_vector_state(self, next);
  else
    arch::switch_context(self.context, next.context);
  arch::oblako_finish_switch();
}

} // namespace
} // namespace oblako::sched

extern "C" void oblako_finish_switch() {
  using namespace oblako::sched;
  cpu_state& cs = this_state();
  thread* previous = cs.previous;
  const bool dead = previous->state == thread_state::dead;
  cs.lock.unlock();
  if (dead)
    release_dead_thread(*previous);
}

namespace oblako::sched {

void block_unless(bool (*stay_awake)(void*), void* argument) {
  OBLAKO_ASSERT(arch::this_cpu().spinlock_depth == 0 && arch::this_cpu().interrupt_depth == 0);
  arch::interrupts_off off;
  cpu_state& cs = this_state();
  cs.lock.lock();
  if (stay_awake(argument)) {
    cs.lock.unlock();
    return;
  }
  thread& self = current();
  charge(cs, self, time::monotonic_ns());
  self.state = thread_state::blocked;
  switch_away(cs);
}

void leave_for_ever() {
  arch::disable_interrupts();
  cpu_state& cs = this_state();
  cs.lock.lock();
  thread& self = current();
  charge(cs, self, time::monotonic_ns());
  self.state = thread_state::dead;
  switch_away(cs);
  __builtin_unreachable();
}

void reschedule() {
  arch::interrupts_off off;
  cpu_state& cs = this_state();
  cs.lock.lock();
  thread& self = current();
  charge(cs, self, time::monotonic_ns());
  self.state = thread_state::runnable;
  cs.queue.insert(self);
  switch_away(cs);
}

void yield() {
  arch::interrupts_off off;
  cpu_state& cs = this_state();
  cs.lock.lock();
  if (cs.queue.empty()) {
    cs.lock.unlock();
    return;
  }
  thread& self = current();
  charge(cs, self, time::monotonic_ns());
  cs.queue.place_behind_first(self);
  self.state = thread_state::runnable;
  cs.queue.insert(self);
  switch_away(cs);
}

void wake(thread& t) {
  cpu_state& cs = state_of(t.cpu);
  spinlock_guard guard(cs.lock);
  if (t.state != thread_state::blocked)
    return;
  t.state = thread_state::runnable;
  if (cs.idle) {
    cs.queue.place(t);
    cs.queue.insert(t);
    __atomic_store_n(&cs.kicked, 1, __ATOMIC_RELAXED); // read by the same CPU
    return;
  }
  // What the running thread has used since it was last charged counts before t takes its place:
  // else t would come with a credit of all that time.
  thread& running = current();
  const uint64_t now = time::monotonic_ns();
  charge(cs, running, now);
  cs.queue.place(t);
  cs.queue.insert(t);
  if (run_queue::preempts(t, running)) {
    mark_reschedule();
    return;
  }
  cs.slice_end = max_of(cs.slice_end, now + least_slice);
  watch_slice(cs);
}

uint64_t check_time_slice(uint64_t now) {
  cpu_state& cs = this_state();
  spinlock_guard guard(cs.lock);
  if (cs.idle || cs.queue.empty())
    return time::no_deadline;
  if (now >= cs.slice_end) {
    mark_reschedule();
    cs.slice_end = now + time_slice;
  }
  return cs.slice_end;
}

void set_pending_signal(thread& t) {
  OBLAKO_NEEDS(syscall_exit_slow);
  OBLAKO_NEEDS(oblako_return_to_application);
  arch::interrupts_off off;
  __atomic_fetch_or(&t.pending, arch::pending_signal, __ATOMIC_SEQ_CST);
  if (&t == &current())
    __atomic_fetch_or(&arch::this_cpu().pending, arch::pending_signal, __ATOMIC_RELAXED);
}

void clear_pending_signal(thread& t) {
  arch::interrupts_off off;
  __atomic_fetch_and(&t.pending, ~uint32_t{arch::pending_signal}, __ATOMIC_SEQ_CST);
  if (&t == &current())
    __atomic_fetch_and(&arch::this_cpu().pending, ~uint32_t{arch::pending_signal},
                       __ATOMIC_RELAXED);
}

uint64_t thread_cpu_ns(const thread& t) {
  spinlock_guard guard(state_of(t.cpu).lock);
  return t.run_total +
         (t.state == thread_state::running ? time::monotonic_ns() - t.run_started : 0);
}

uint64_t process_cpu_ns() {
  uint64_t total = 0;
  for (cpu_state* cs : cpu_states) {
    if (!cs)
      break;
    spinlock_guard guard(cs->lock);
    total += cs->busy_total;
    if (cs == &this_state() && !cs->idle)
      total += time::monotonic_ns() - current().run_started;
  }
  return total;
}

} // namespace oblako::sched
