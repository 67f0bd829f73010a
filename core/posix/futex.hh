// Futexes for the kernel's own use: thread exit wakes joiners.
#pragma once

#include "core/mem/app_memory.hh"
#include <stdint.h>
#include <time.h>

namespace oblako::posix {

// Wakes up to `count` waiters at an application address whose bit set meets `bits`; returns how
// many. Context: thread.
uint32_t futex_wake(uintptr_t address, uint32_t count, uint32_t bits = ~0u);

// Whether a word can be one. Errors: inval (not aligned), fault (not in the application's range).
inline result<void> check_futex_word(const uint32_t* address) {
  const auto a = reinterpret_cast<uintptr_t>(address);
  if (a % sizeof(uint32_t))
    return error::inval;
  return mem::in_app_range(a, sizeof(uint32_t)) ? result<void>() : result<void>(error::fault);
}

} // namespace oblako::posix

// The whole futex call, in images that can have several threads. Linux's arguments.
extern "C" [[gnu::weak]] long oblako_futex(uint32_t* address, int operation, uint32_t value,
                                           uint64_t timeout_or_value2, uint32_t* address2,
                                           uint32_t value3);

// A wait in an image whose only thread makes it (core/posix/futex_alone.cc).
extern "C" [[gnu::weak]] long oblako_futex_alone(bool absolute, bool realtime,
                                                 const timespec* timeout);
