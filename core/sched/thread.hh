// Threads and the scheduler's public face. One application, so there is one process: what POSIX
// keeps per process is global, what it keeps per thread is here.
//
// The kernel itself is not preempted: a thread runs kernel code until it blocks, returns to the
// application, or calls yield_if_needed(). The application is preempted at any instruction.
#pragma once

#include "arch/x64/context.hh"
#include "core/base/result.hh"
#include "core/base/types.hh"
#include "core/posix/signal_state.hh"
#include "core/sched/wait.hh"
#include <boost/intrusive/set.hpp>

namespace oblako::sched {

enum class thread_state : uint8_t { runnable, running, blocked, dead };

class thread : noncopyable,
               public boost::intrusive::set_base_hook<
                   boost::intrusive::link_mode<boost::intrusive::normal_link>> {
public:
  static constexpr uint32_t default_weight = 1024;

  // --- guarded by the run queue lock of `cpu`
  arch::context context;
  thread_state state = thread_state::blocked;
  uint32_t cpu = 0;
  uint64_t virtual_runtime = 0;     // ns, weighted
  uint64_t run_started = 0;         // monotonic ns at which it was last switched to
  uint64_t run_total = 0;           // ns on a CPU, up to run_started
  uint32_t weight = default_weight; // share of the CPU (nice); set by the scheduler calls

  // --- immutable after creation
  int32_t tid = 0;
  uintptr_t kernel_stack_top = 0;
  bool is_application = false;

  // --- owned by the thread itself, or atomic
  char name[16] = {};   // zero-terminated; prctl(PR_SET_NAME)
  uint32_t pending = 0; // arch::pending_signal, mirrored into percpu while it runs
  // The vector registers hold the application's values, not what a call may clobber: an interrupt
  // or exception hit it. A switch then saves them all.
  bool vector_state_live = false;
  bool cancellation_point = false;
  bool cancel_requested = false;
  // The deadline of a timed call that is being made again because no handler ran; 0: none.
  uint64_t restart_deadline = 0;
  int32_t* clear_child_tid = nullptr; // application address
  void* robust_list = nullptr;        // application address
  uintptr_t start_rip = 0;            // where a new application thread begins
  uintptr_t start_rsp = 0;
  int8_t nice = 0;
  uint8_t policy = 0;            // recorded for sched_getscheduler()
  int32_t realtime_priority = 0; // likewise
  posix::signal_state signals;

  // All threads but the main one, by tid; guarded by the thread table's lock.
  boost::intrusive::set_member_hook<boost::intrusive::link_mode<boost::intrusive::normal_link>>
      table_hook;
};

inline thread& current() {
  return *arch::current_thread();
}

// The application's first thread, in static storage.
thread& main_thread();

// A kernel thread, detached, runnable at once. Errors: nomem.
result<thread*> start_kernel_thread(const char* name, void (*entry)(void*), void* argument);
[[noreturn]] void exit_current();

// Turns the pending-signal mark of a thread on or off, and the boundary's with it. Context: any.
void set_pending_signal(thread& t);
void clear_pending_signal(thread& t);

// CPU time so far. Units: nanoseconds. Context: any.
uint64_t thread_cpu_ns(const thread& t);
uint64_t process_cpu_ns();

// Makes a blocked thread runnable; nothing if it is not blocked. Context: any.
void wake(thread& t);
// Gives the CPU to a better thread if one is waiting. For long loops in the kernel. May block the
// caller for a time slice; no spinlock may be held.
void yield_if_needed();
// The same for a loop that a signal may end, as a wait may be ended: a call that has transferred
// something returns how much, any other returns the error. Errors: restart (a signal is pending),
// canceled (pthread cancellation, only inside a cancellation point).
result<void> interruption_point();
// The same for a loop that only the end of the program may cut short: work on files, as on Linux.
// Errors: intr (a signal is pending that ends the program).
result<void> killable_point();
// sched_yield: to the back of the queue.
void yield();

// The thread with that id, or nullptr. The pointer stays good until the thread table's lock is
// released; use with thread_table_lock held.
extern spinlock thread_table_lock;
thread* find_thread(int32_t tid);
// Calls f for every thread, under thread_table_lock, until f returns false.
void for_each_thread(bool (*f)(thread&, void*), void* argument);

} // namespace oblako::sched
