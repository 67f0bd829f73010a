// sigaltstack's state of a thread, as the call and the signal frame see it.
#pragma once

#include "core/posix/signal_state.hh"
#include <stdint.h>

namespace oblako::posix {

enum alternate_stack_flags : int {
  ss_onstack = 1,
  ss_disable = 2,
  ss_autodisarm = static_cast<int>(1u << 31),
};

inline bool on_alternate_stack(const signal_state& s, uintptr_t stack_pointer) {
  return s.alternate_stack && stack_pointer > s.alternate_stack &&
         stack_pointer - s.alternate_stack <= s.alternate_stack_size;
}
inline int describe_alternate_stack(const signal_state& s, uintptr_t stack_pointer) {
  if (!s.alternate_stack)
    return ss_disable;
  return (on_alternate_stack(s, stack_pointer) ? ss_onstack : 0) | s.alternate_stack_flags;
}

} // namespace oblako::posix
