// membarrier. The kernel is not preempted and one CPU runs, so having entered it is the barrier:
// every other thread of the application has been through a context switch since it last ran.
#include "core/base/result.hh"

extern "C" long sys_membarrier(int command, unsigned flags) {
  enum : int { query = 0, all_commands = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x20 | 0x40 };
  if (flags || command < 0 || (command & ~all_commands) || (command & (command - 1)))
    return -static_cast<long>(oblako::error::inval);
  if (command == query)
    return all_commands;
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  return 0;
}
