// For boot only: tells the clock when the machine's first instruction ran.
#pragma once

#include <stdint.h>

namespace oblako::time {
// Units: TSC ticks. Zero of the monotonic clock.
void note_entry(uint64_t tsc);
} // namespace oblako::time
