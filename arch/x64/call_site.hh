// Whether an address looks like a return address: a backtrace without frame pointers takes every
// word of a stack for one that does.
#pragma once

#include <stdint.h>

namespace oblako::arch {

// True if the bytes before the address are a near call: e8 rel32, or ff /2 in its short forms. The
// seven bytes before it must be readable.
inline bool follows_call(uintptr_t address) {
  const auto* p = reinterpret_cast<const uint8_t*>(address);
  if (p[-5] == 0xe8)
    return true;
  for (int length = 2; length <= 7; length++)
    if (p[-length] == 0xff && (p[-length + 1] & 0x38) == 0x10)
      return true;
  return false;
}

} // namespace oblako::arch
