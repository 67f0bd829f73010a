// What POSIX keeps of signals for every thread. Sets are 64-bit masks: signal n is bit n - 1.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace oblako::posix {

struct queued_signal;
using signal_mask = uint64_t;

struct signal_state {
  // --- changed by the thread itself, under the signal lock (others read it to pick a receiver)
  signal_mask blocked = 0;
  // Put back when the next handler's frame is made, or at the boundary: sigsuspend, ppoll.
  signal_mask saved_blocked = 0;
  bool restore_blocked = false;

  // --- guarded by the signal lock
  signal_mask pending = 0;        // directed at this thread
  queued_signal* queue = nullptr; // details of some of them, oldest first

  // --- owned by the thread
  uintptr_t alternate_stack = 0; // application address; 0: none
  size_t alternate_stack_size = 0;
  int alternate_stack_flags = 0;
};

} // namespace oblako::posix
