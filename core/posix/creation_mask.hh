// The mode bits that new files do not get (umask).
#pragma once

#include <stdint.h>

namespace oblako::posix {

extern uint32_t creation_mask;

} // namespace oblako::posix
