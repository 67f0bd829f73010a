// How often something may happen: a token bucket, kept as the moment at which it will be full again
// (the generic cell rate algorithm, ITU-T I.371). All zero: full. Units: milliseconds of any clock
// that wraps. Not locked.
#pragma once

#include <stdint.h>

namespace oblako::net {

class message_rate {
public:
  // One each `interval`, `burst` at once. `cost` tokens are taken, none if false is returned.
  bool take(uint32_t now, uint32_t interval, uint32_t burst, uint32_t cost = 1) {
    uint32_t used = full_at_ - now;
    if (used > interval * (burst + most_cost)) // the moment is past, perhaps long ago
      used = 0;
    if (used + interval > interval * burst)
      return false;
    full_at_ = now + used + interval * cost;
    return true;
  }
  static constexpr uint32_t most_cost = 2;

private:
  uint32_t full_at_ = 0;
};

} // namespace oblako::net
