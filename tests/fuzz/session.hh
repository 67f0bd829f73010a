// What the fuzzers of the whole machine have in common: for each input the machine begins anew and
// the application opens its sockets; at the end it closes them, a good client is served, and no
// memory may be held that was not before (session.cc). Each fuzzer says what happens in between.
#pragma once

#include "tests/fuzz/client.hh"
#include "tests/fuzz/machine.hh"

namespace fuzz {

extern application app;

// Defined by each fuzzer: what one input makes of its bytes.
void happen(script& in);

} // namespace fuzz
