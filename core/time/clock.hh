// Clocks. Monotonic time is nanoseconds since the kernel's first instruction, read from the TSC;
// its frequency may be refined in the first seconds, but it never steps back.
#pragma once

#include <stdint.h>

namespace oblako::time {

constexpr uint64_t ns_per_ms = 1'000'000;
constexpr uint64_t ns_per_s = 1'000'000'000;
constexpr uint64_t no_deadline = ~uint64_t{0};

// `span` after `moment`. Saturates: what lies beyond the clock's range never comes, it does not
// wrap into the past.
constexpr uint64_t later(uint64_t moment, uint64_t span) {
  return span > no_deadline - moment ? no_deadline : moment + span;
}

// Units: nanoseconds. Context: any.
uint64_t monotonic_ns();
// Nanoseconds since 1970-01-01 UTC. Jumps forward if the machine was stopped and goes on.
uint64_t wall_ns();
// How often it has jumped; looks at it first.
uint64_t wall_clock_jumps();
// Moves the wall clock (clock_settime); the monotonic clock is untouched.
void set_wall_ns(uint64_t ns);

} // namespace oblako::time
