// The port of lwIP to this kernel, as the rest of core/net sees it.
#pragma once

#include <stdint.h>

namespace oblako::net {

// Context: the stack's lock is held.
uint32_t random_word();
// Makes the secret behind initial sequence numbers. Called once, before the first connection.
void make_isn_key();
// Sizes of TCP's window and send buffer, for one connection, from the size of memory: what it may
// have in any case (64 kB in a VM of 16 MB, up to 256 kB; the window starts with this), and what as
// long as sockets_may_grow().
struct buffer_sizes {
  uint32_t base, largest;
};
extern buffer_sizes tcp_buffers;
// Sets them. Called once, before the first connection.
void size_buffers();
// True while all sockets together hold less than an eighth of memory, and there is some left.
bool sockets_may_grow();
// Makes the tables in which connections and local ports are found. Called once, before the first.
void make_connection_table();
void make_port_table();
// True if less than a thirty-second of memory is free.
bool memory_is_short();

} // namespace oblako::net
