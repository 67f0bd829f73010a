// Shared by wait.cc and wait_deadline.cc: why a waiting thread stays awake.
#pragma once

#include "core/sched/cpu_state.hh"
#include "core/sched/wait.hh"

namespace oblako::sched {

struct thread_waiter::sleep_test {
  thread_waiter& waiter;
  thread& self;
  bool interruptible;
  uint32_t expired = 0; // set by the deadline's timer before it wakes the thread
  error outcome = error::none;

  // For block_unless(); records the reason in outcome.
  static bool stay_awake(void* test);
  // Until there is a reason. Context: thread.
  result<void> sleep();
};

} // namespace oblako::sched
