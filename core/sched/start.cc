// The boot CPU's first thread: the code that runs at boot becomes the application's main thread.
// The scheduler itself (sched.cc) is linked only where something can block or wake.
#include "core/base/late.hh"
#include "core/sched/cpu_state.hh"

namespace oblako::time {
[[gnu::weak]] uint64_t monotonic_ns(); // an image without a clock asks nobody how long it ran
}

namespace oblako::sched {

cpu_state* cpu_states[arch::max_cpus];

namespace {

late<thread> main_storage;
late<cpu_state> boot_cpu;

} // namespace

thread& main_thread() {
  return *main_storage;
}

} // namespace oblako::sched

// Allocates nothing. Context: boot, on the stack that stays the main thread's kernel stack
// (percpu::kernel_stack_top is set), before anything can block.
extern "C" void oblako_start_threads() {
  using namespace oblako::sched;
  oblako::arch::percpu& cpu = oblako::arch::this_cpu();
  cpu_state& cs = boot_cpu.construct();
  cpu_states[cpu.cpu_number] = &cs;
  cpu.idle = &cs;

  thread& t = main_storage.construct();
  t.tid = 1;
  t.cpu = cpu.cpu_number;
  t.is_application = true;
  t.kernel_stack_top = cpu.kernel_stack_top;
  t.state = thread_state::running;
  if (&oblako::time::monotonic_ns)
    t.run_started = oblako::time::monotonic_ns();
  cpu.current = &t;
}
