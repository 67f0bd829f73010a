// The application's first stack, laid out as Linux does at exec.
#pragma once

#include "core/base/result.hh"
#include "core/boot/command_line.hh"
#include <stdint.h>

namespace oblako::boot {

// Maps the stack and writes argc, argv, envp, the auxiliary vector and, contiguous at its top, the
// strings themselves (programs that set their title write over them). Returns the initial stack
// pointer. Errors: nomem, toobig (arguments beyond 128 kB).
result<uint64_t> make_application_stack(const arguments& args);

// Where the argument strings lie in the application's memory, one behind the other with their
// terminators: what /proc/self/cmdline shows, also after the application has written over them.
struct argument_range {
  uint64_t start = 0, end = 0;
};
argument_range argument_strings();

} // namespace oblako::boot
