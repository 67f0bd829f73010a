// Device vectors: who owns which, and the dispatcher behind the interrupt stubs.
#include "arch/x64/interrupts.hh"
#include "arch/x64/apic.hh"
#include "arch/x64/percpu.hh"
#include "core/log/log.hh"
#include "core/sched/spinlock.hh"

namespace oblako::arch {

namespace {

struct vector_entry {
  interrupt_handler handler; // nullptr: free
  void* context;
};

constexpr size_t vector_count = last_device_vector - first_device_vector + 1;

// Written under the lock with interrupts off; the dispatcher reads without it. All device
// interrupts go to the boot CPU, so there a half-written entry cannot be seen; the release store of
// `handler` keeps that true for vectors of other CPUs.
constinit sched::spinlock vector_lock{sched::lock_rank::device};
constinit vector_entry vectors[vector_count]{};
constinit uint64_t stray_interrupts = 0;

// Out of the fast path: a vector nobody owns. One line, not one per interrupt.
[[gnu::noinline]] void count_stray(uint8_t vector) {
  if (stray_interrupts++ == 0)
    log::warning("interrupt on vector 0x%x, which nobody asked for", vector);
}

} // namespace

result<uint8_t> allocate_vector(interrupt_handler handler, void* context) {
  TRY(start_interrupts());
  sched::spinlock_guard guard(vector_lock);
  for (size_t i = 0; i < vector_count; ++i) {
    if (vectors[i].handler)
      continue;
    vectors[i].context = context;
    // release: pairs with the acquire load in the dispatcher, context first.
    __atomic_store_n(&vectors[i].handler, handler, __ATOMIC_RELEASE);
    return static_cast<uint8_t>(first_device_vector + i);
  }
  return error::nospc;
}

void free_vector(uint8_t vector) {
  if (vector < first_device_vector || vector > last_device_vector)
    return;
  sched::spinlock_guard guard(vector_lock);
  __atomic_store_n(&vectors[vector - first_device_vector].handler, nullptr, __ATOMIC_RELEASE);
}

} // namespace oblako::arch

// Called by the interrupt stubs with interrupts off.
extern "C" void oblako_dispatch_interrupt(uint8_t vector) {
  using namespace oblako::arch;
  // A spurious interrupt was never in service: an EOI would end somebody else's.
  if (vector == spurious_vector)
    return;
  percpu& cpu = this_cpu();
  ++cpu.interrupt_depth;
  if (vector == timer_vector) {
    if (oblako_timer_interrupt)
      oblako_timer_interrupt();
  } else if (vector >= first_device_vector && vector <= last_device_vector) {
    vector_entry& entry = vectors[vector - first_device_vector];
    if (auto handler = __atomic_load_n(&entry.handler, __ATOMIC_ACQUIRE)) // see allocate_vector
      handler(entry.context);
    else
      count_stray(vector);
  }
  // After the handler: a level-triggered line that the handler has silenced must not fire again.
  end_of_interrupt();
  --cpu.interrupt_depth;
}
