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

} // namespace oblako::boot
