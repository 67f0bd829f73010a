// Time sources of the processor: the TSC's frequency, from whoever knows it, and KVM's wall clock.
#pragma once

#include "core/base/result.hh"
#include <stdint.h>

namespace oblako::arch {

enum class tsc_source : uint8_t {
  cpuid,     // the hypervisor's leaf 0x40000010 or leaf 0x15: exact
  kvmclock,  // pvclock's multiplier: exact
  reference, // being measured against the PIT
};

struct tsc_frequency {
  uint64_t hz;
  tsc_source source;
};
// What is known at boot without waiting. For `reference` the value is a first guess.
tsc_frequency tsc_frequency_at_boot();

// A counter of known frequency that the TSC can be measured against. It wraps at mask + 1.
struct reference_clock {
  uint64_t hz;
  uint64_t mask;
  uint64_t (*read)();
};
// Sets it going. Device accesses: three, and three for each read.
const reference_clock* start_tsc_reference();

// The machine's time of day, from KVM's clock or the RTC: at least `ns` since 1970, and less than
// `ns` + `resolution`.
struct wall_reading {
  uint64_t ns;
  uint64_t resolution;
};
// `tries`: of the RTC, which cannot be read for 2 ms of each second; 10,000 last longer than that.
// Device accesses: 20. Errors: nodev if neither answers; again (the RTC was changing).
result<wall_reading> read_wall_clock(unsigned tries);

} // namespace oblako::arch
