// The port of lwIP to this kernel, as the rest of core/net sees it.
#pragma once

#include <stdint.h>

namespace oblako::net {

// Context: the stack's lock is held.
uint32_t random_word();
// Makes the secret behind initial sequence numbers. Called once, before the first connection.
void make_isn_key();
// Sets TCP's window and send buffer from the size of memory: 64 kB in a VM of 16 MB, up to 1 MB.
// Called once, before the first connection.
void size_buffers();
// Makes the table in which lwIP finds connections. Called once, before the first connection.
void make_connection_table();
// True if less than a thirty-second of memory is free.
bool memory_is_short();

} // namespace oblako::net
