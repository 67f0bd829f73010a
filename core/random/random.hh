// The kernel's random numbers: a ChaCha20 generator seeded from RDRAND, virtio-rng and timing.
#pragma once

#include "core/base/types.hh"

namespace oblako::random {

// Context: thread; never blocks, never fails. Seeds itself on first use.
void fill(void* to, size_t bytes);
// Mixes bytes of entropy in. Context: thread.
void add_entropy(const void* data, size_t bytes);

} // namespace oblako::random

// An entropy device's driver: puts up to `bytes` random bytes there, returns how many (0: there is
// no device, or it does not answer). Asked once, if the processor has no random numbers.
extern "C" size_t oblako_device_entropy(void* to, size_t bytes);
