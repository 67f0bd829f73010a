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

// What lies where in the application's memory: the strings one behind the other with their
// terminators, and the auxiliary vector. /proc/self/{cmdline,environ,auxv} show it, also after the
// application has written over it.
struct stack_layout {
  uint64_t arguments = 0;   // to where the environment begins
  uint64_t environment = 0; // to where the program's name begins
  uint64_t program = 0;     // one string: the first argument as it was given
  uint64_t auxiliary = 0;
  static constexpr size_t auxiliary_bytes = 15 * 16;
};
const stack_layout& application_stack_layout();

} // namespace oblako::boot
