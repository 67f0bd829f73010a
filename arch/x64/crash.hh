// The last words of a VM: registers, a backtrace, the log's tail, then the end with a failure
// status.
#pragma once

#include "arch/x64/context.hh"

namespace oblako::arch {

constexpr int panic_status = 70; // EX_SOFTWARE

// A broken invariant of the kernel, with the machine state it was found in.
[[noreturn]] void crash_with_frame(const trap_frame& frame, const char* format, ...)
    __attribute__((format(printf, 2, 3)));

// A page could not be had at an access that cannot report an error. Says who uses the memory and
// what to do about it.
[[noreturn]] void report_out_of_memory(const trap_frame& frame);

} // namespace oblako::arch
