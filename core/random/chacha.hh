// The ChaCha20 block function (RFC 8439, 2.3).
#pragma once

#include <stdint.h>

namespace oblako::random {

// One 64-byte block of the key stream; the nonce is zero.
void chacha_block(const uint32_t (&key)[8], uint32_t counter, uint32_t (&out)[16]);

} // namespace oblako::random
