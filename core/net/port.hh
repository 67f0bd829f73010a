// The port of lwIP to this kernel, as the rest of core/net sees it.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace oblako::net {

// Context: the stack's lock is held.
uint32_t random_word();
// Makes the secret behind initial sequence numbers. Called once, before the first connection.
void make_isn_key();
// Sizes of TCP's window and send buffer, for one connection, from the size of memory: the window
// it starts with (64 kB in a VM of 16 MB, up to 256 kB), and the most it may come to have. How much
// of that it has at a time depends on what all together hold (mem::buffers.share()).
struct buffer_sizes {
  uint32_t base, largest;
};
extern buffer_sizes tcp_buffers;
// Sets them. Called once, before the first connection.
void size_buffers();
// Makes the tables in which connections and local ports are found. Called once, before the first.
void make_connection_table();
void make_port_table();
// What a connection may hold each way, however short memory is: two segments.
constexpr size_t least_share = 2 * 1460;

} // namespace oblako::net
