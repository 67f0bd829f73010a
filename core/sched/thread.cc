// The life of a thread: made, ended, its memory given back. And kernel threads.
#include "core/base/needs.hh"
#include "core/mem/heap.hh"
#include "core/mem/kernel_map.hh"
#include "core/sched/cpu_state.hh"
#include "core/sched/thread_table.hh"
#include "core/time/deadline.hh"

namespace oblako::sched {

result<thread*> create_thread(void (*entry)(void*), void* argument) {
  OBLAKO_NEEDS(_ZN6oblako5sched5mutex9lock_slowEv);
  OBLAKO_NEEDS(oblako_nmi);
  time::prepare_interrupts(); // with a second thread, time slices have to end
  auto t = TRY(mem::make<thread>());
  t->kernel_stack_top = TRY(mem::allocate_kernel_stack());
  t->cpu = arch::this_cpu().cpu_number;
  arch::prepare_context(t->context, t->kernel_stack_top, entry, argument ? argument : t.get());
  return t.release();
}

void discard_thread(thread& t) {
  mem::free_kernel_stack(t.kernel_stack_top);
  t.~thread();
  mem::release_sized(&t, sizeof(t));
}

// Called by the scheduler on another thread's stack, interrupts off.
void release_dead_thread(thread& t) {
  if (&t != &main_thread()) // whose stack and record are part of the image
    discard_thread(t);
}

void exit_current() {
  forget_thread(current());
  leave_for_ever();
}

namespace {

struct kernel_thread_start {
  void (*entry)(void*);
  void* argument;
};

void run_kernel_thread(void* p) {
  const kernel_thread_start start = *static_cast<kernel_thread_start*>(p);
  mem::release_sized(p, sizeof(start));
  start.entry(start.argument);
  exit_current();
}

} // namespace

result<thread*> start_kernel_thread(const char* name, void (*entry)(void*), void* argument) {
  auto start = TRY(mem::make<kernel_thread_start>(entry, argument));
  thread* t = TRY(create_thread(run_kernel_thread, start.get()));
  for (size_t i = 0; i + 1 < sizeof(t->name) && name[i]; ++i)
    t->name[i] = name[i];
  if (auto registered = register_thread(*t); !registered.ok()) {
    discard_thread(*t);
    return registered.code();
  }
  start.release();
  wake(*t);
  return t;
}

} // namespace oblako::sched
