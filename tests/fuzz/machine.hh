// The machine that the fuzzers' inputs happen to: the kernel that core/net stands on, two network
// devices, and the way from one input to the next, which has to find everything as the last did.
#pragma once

#include "tests/fuzz/packets.hh"

struct netif;

namespace fuzz {

// The second one asks DHCP.
extern wire devices[2];
netif* interface_of(const wire& w);

// Between which addresses a protocol is spoken over IPv6.
ip6_way way_of(uint8_t protocol);
// From the peer, to the first device, in pieces of `piece` bytes (0: one).
void deliver_ip(bool v6, uint8_t protocol, const bytes& payload,
                oblako::net::checksum_state checksum, size_t piece = 0);

// --- one input

// Both sides know each other, so that answers leave. Starts the machine when it is called first.
void begin();
// What begin() does about knowing each other.
void greet();
// As after a long time without a word from anybody. The application has closed everything. A
// finding if memory is held that was not after the first call (warm_up() in client.hh).
void settle();

// --- meanwhile

// The stack takes what has arrived and lets due timers run. What it does for a frame, or for the
// time that has passed, is bounded (steps.hh).
void run_stack();
// In steps, as timers are called.
void pass(unsigned milliseconds);

// Allocations fail: all of them behind the next `after`, or only that one; until further notice.
enum class failing { all, one };
void fail_allocations(size_t after, failing which);
void allocate_again();

// What the network holds beyond what it held at rest. Units: bytes; pieces of memory.
size_t held_bytes();
size_t held_pieces();
// A finding if that is more than it may hold, whoever the peers are and however many, or is not in
// the account of buffers (core/mem/buffer_account.hh).
void check_memory();

} // namespace fuzz
