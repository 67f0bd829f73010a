#include "core/time/deadline.hh"

#include "arch/x64/apic.hh"
#include "arch/x64/context.hh"
#include "core/sched/cpu_state.hh"

// core/time/timer.cc, if anything in the image uses timers: runs what is due and returns the next
// deadline.
extern "C" [[gnu::weak]] uint64_t oblako_run_timers(uint64_t now);

namespace oblako::time {
namespace {

// Per CPU: when the hardware timer will fire.
uint64_t armed_for[arch::max_cpus];
bool armed[arch::max_cpus];

// A preemption or a signal that found kernel code running is looked at again after this long.
constexpr uint64_t retry_ns = 100'000;

} // namespace

void prepare_interrupts() {
  // Out of memory is reported by the first interrupt that is asked for.
  (void)arch::start_interrupts().ok();
}

void request_interrupt_by(uint64_t deadline_ns) {
  arch::interrupts_off off;
  const uint32_t cpu = arch::this_cpu().cpu_number;
  if (armed[cpu] && armed_for[cpu] <= deadline_ns)
    return;
  armed[cpu] = true;
  armed_for[cpu] = deadline_ns;
  arch::arm_deadline_timer(deadline_ns);
}

} // namespace oblako::time

// Context: interrupt.
extern "C" void oblako_timer_interrupt() {
  using namespace oblako;
  time::armed[arch::this_cpu().cpu_number] = false;
  const uint64_t now = time::monotonic_ns();
  uint64_t next = oblako_run_timers ? oblako_run_timers(now) : time::no_deadline;
  next = min_of(next, sched::check_time_slice(now));
  if (next != time::no_deadline)
    time::request_interrupt_by(next);
}

// Called at the end of an interrupt that hit kernel code while percpu::pending is set. The boundary
// looks at `pending` on the way out, but not any more once its stack is empty (the last
// instructions of a stub), and a leaf call on the application's stack never does: then ask for
// another interrupt.
extern "C" void oblako_pending_in_kernel(const oblako::arch::trap_frame* frame) {
  using namespace oblako;
  if (sched::this_state().idle)
    return;
  // The deepest point that is still before the look: what the restartable stub keeps on the stack.
  constexpr uint64_t stub_bytes = 16 + 6 * 8;
  const uint64_t top = arch::this_cpu().kernel_stack_top;
  if (frame->rsp < top - stub_bytes && static_cast<int64_t>(frame->rsp) < 0)
    return;
  time::request_interrupt_by(time::monotonic_ns() + time::retry_ns);
}
