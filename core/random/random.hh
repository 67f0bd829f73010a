// The kernel's random numbers: a ChaCha20 generator seeded from RDRAND, virtio-rng and timing.
#pragma once

#include "core/base/types.hh"

namespace oblako::random {

// Context: thread; never blocks, never fails. Seeds itself on first use.
void fill(void* to, size_t bytes);
// Mixes bytes of entropy in. Context: thread.
void add_entropy(const void* data, size_t bytes);

} // namespace oblako::random
