// A bound on what one call of the code under test may take: the edges of its control flow are
// counted, and the program ends with a finding when a call takes more than its input allows. What
// is counted does not depend on the host's speed or load, so a finding always comes again.
//
// Only files compiled with -fsanitize-coverage=trace-pc-guard are counted (CMakeLists.txt): the
// code under test, not the fuzzer.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace fuzz {

// Everything that runs during the object's life is one call, with an input of `bytes` bytes while
// `held` things existed that it may have to look at. One call at a time.
class bounded_call {
public:
  bounded_call(const char* what, size_t bytes, size_t held);
  ~bounded_call();
  bounded_call(const bounded_call&) = delete;
};

// What the calls since the last reset have taken together.
uint64_t steps_taken();
void reset_steps();

} // namespace fuzz
