// Accesses to application memory by marked instructions: a fault in one of them ends the function
// instead of the kernel. Addresses must have been checked to lie in the application's range.
#pragma once

#include <stddef.h>
#include <stdint.h>

extern "C" {
// Copies; returns how many bytes at the end were not copied (0: all).
size_t app_access_copy(void* to, const void* from, size_t bytes);
// Writes zeros; returns how many bytes at the end were not written.
size_t app_access_zero(void* to, size_t bytes);
// Copies up to and including the first zero byte, at most `size` bytes. Returns the length without
// the zero; `size` if there was none; -1 after a fault.
ptrdiff_t app_access_string(char* to, const char* from, size_t size);

// Atomic compare and exchange of an aligned word. 0: exchanged; 1: not, *expected is what was
// found; -1: fault.
int app_access_compare_exchange(uint32_t* app, uint32_t* expected, uint32_t desired);

// Where to go on after a fault at rip; 0 if the instruction is not a marked one. Linear search:
// only faults that end in EFAULT come here.
uintptr_t find_fixup(uintptr_t rip);
}
