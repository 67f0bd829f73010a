// a * b / c through a 128-bit product. The compiler's own 128-bit division is a call into libgcc,
// which lies in the application's half: an interrupt there would take the kernel for the
// application.
#pragma once

#include <stdint.h>

namespace oblako::arch {

// Rounded down; the largest uint64_t if the quotient does not fit or c is 0.
// Spec: Intel SDM vol. 2, DIV (faults where the upper half of the dividend is not below the
// divisor).
inline uint64_t multiply_divide(uint64_t a, uint64_t b, uint64_t c) {
  uint64_t low, high;
  asm("mul %3" : "=a"(low), "=d"(high) : "a"(a), "r"(b) : "cc");
  if (high >= c)
    return UINT64_MAX;
  asm("div %2" : "+a"(low), "+d"(high) : "r"(c) : "cc");
  return low;
}

} // namespace oblako::arch
