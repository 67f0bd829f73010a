#include "tests/fuzz/steps.hh"

#include <algorithm>
#include <stdio.h>
#include <stdlib.h>

namespace fuzz {
namespace {

// A call that sends or frees everything there is takes some hundred edges for each piece. What a
// byte costs is a checksum over it and, in the smallest pieces, a header for every few bytes. The
// dearest piece is a connection that waits at a listener which closes: it is answered, at 290.
constexpr uint64_t of_a_call = 10'000, of_a_byte = 6, of_a_piece = 350;

constexpr uint64_t no_call = ~uint64_t{0};

bool within_call;
uint64_t left = no_call;
uint64_t allowed, taken;
const char* current;
size_t current_bytes, current_held;

[[noreturn]] void too_many() {
  left = no_call;
  fprintf(stderr,
          "steps: %s takes more than %llu edges, with an input of %zu bytes and %zu pieces of "
          "memory held\n",
          current, static_cast<unsigned long long>(allowed), current_bytes, current_held);
  abort();
}

// FUZZ_STEPS=1: how near the calls come to their bound.
void report_nearest(uint64_t used) {
  static const bool wanted = getenv("FUZZ_STEPS") != nullptr;
  static double nearest;
  const double part = static_cast<double>(used) / static_cast<double>(allowed);
  if (!wanted || part <= nearest)
    return;
  nearest = part;
  fprintf(stderr, "steps: %s took %llu edges of %llu (%zu bytes, %zu pieces)\n", current,
          static_cast<unsigned long long>(used), static_cast<unsigned long long>(allowed),
          current_bytes, current_held);
}

} // namespace

bounded_call::bounded_call(const char* what, size_t bytes, size_t held) {
  if (within_call)
    abort();
  within_call = true;
  current = what;
  current_bytes = bytes;
  current_held = held;
  left = allowed = of_a_call + of_a_byte * bytes + of_a_piece * held;
}

bounded_call::~bounded_call() {
  const uint64_t used = allowed - left;
  left = no_call;
  within_call = false;
  taken += used;
  report_nearest(used);
}

uint64_t steps_taken() {
  return taken;
}
void reset_steps() {
  taken = 0;
}

} // namespace fuzz

// libFuzzer's own functions of these names are not used: it counts by other means.
extern "C" {
void __wrap___sanitizer_cov_trace_pc_guard(uint32_t*) {
  if (fuzz::left-- == 0) [[unlikely]]
    fuzz::too_many();
}
void __wrap___sanitizer_cov_trace_pc_guard_init(uint32_t*, uint32_t*) {}
}
