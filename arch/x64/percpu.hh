// The per-CPU block, reached through GS. Assembly uses the offsets; the static_asserts tie them.
// A field that the thread layer mirrors here (kernel stack, pending work) is written at every
// switch, so that the system-call boundary needs no pointer chasing.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace oblako::sched {
class thread;
}

namespace oblako::arch {

// Bits of percpu::pending: what the way back to the application has to look at. A set bit sends
// the boundary through its slow path once.
enum pending_work : uint32_t {
  pending_reschedule = 1u << 0, // a better thread is runnable
  pending_signal = 1u << 1,     // the current thread has an unblocked pending signal
};

struct percpu {
  percpu* self;               // 0: for taking the block's address
  uintptr_t kernel_stack_top; // 8: of the current thread; the boundary switches to it
  sched::thread* current;     // 16
  uint32_t pending;           // 24: pending_work bits for the current thread on this CPU
  uint32_t spinlock_depth;    // 28: spinlocks held; > 0 forbids blocking
  uint32_t interrupt_depth;   // 32: > 0 inside an interrupt handler
  uint32_t cpu_number;        // 36
  uint32_t apic_id;           // 40
  uint32_t lock_rank;         // 44: rank of the innermost spinlock held (debug builds)
  void* idle;                 // 48: the scheduler's per-CPU state
  uintptr_t scratch[4];       // 56: for entry stubs
};
// The last report of the machine is being written, interrupts off: no lock is waited for any more,
// and no page of the application's is brought in.
inline bool crashing;

static_assert(offsetof(percpu, kernel_stack_top) == 8);
static_assert(offsetof(percpu, current) == 16);
static_assert(offsetof(percpu, pending) == 24);
static_assert(offsetof(percpu, scratch) == 56);

#ifdef OBLAKO_HOST_TEST
// Unit tests run kernel code as an ordinary host program: one fake CPU per host thread.
inline thread_local percpu host_cpu{};
inline percpu& this_cpu() {
  return host_cpu;
}
inline sched::thread* current_thread() {
  return host_cpu.current;
}
inline uint32_t pending_work() {
  return host_cpu.pending;
}
#else
inline percpu& this_cpu() {
  percpu* p;
  asm("mov %%gs:0, %0" : "=r"(p));
  return *p;
}
inline sched::thread* current_thread() {
  sched::thread* t;
  // volatile: the answer changes across a context switch.
  asm volatile("mov %%gs:16, %0" : "=r"(t));
  return t;
}
// percpu::pending right now: interrupt handlers set bits.
inline uint32_t pending_work() {
  uint32_t p;
  asm volatile("mov %%gs:24, %0" : "=r"(p)::"memory");
  return p;
}
#endif

constexpr unsigned max_cpus = 64;

} // namespace oblako::arch
