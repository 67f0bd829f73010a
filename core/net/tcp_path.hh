// What TCP makes of reports about its segments (icmp_error.cc), and of paths that swallow large
// ones without a word. Context of all: the stack's lock is held, lwIP's TCP is not on the stack.
// Private to core/net.
#pragma once

#include "core/base/result.hh"
#include <stdint.h>

struct tcp_pcb;

namespace oblako::net {

// The segment that began with `sequence` was too big for the path, which takes `mtu`. Nothing
// happens unless it is in flight and was that long (RFC 5927, 7).
void segment_was_too_big(tcp_pcb& c, uint32_t sequence, uint16_t mtu);

// The segment that began with `sequence` did not arrive, for whatever reason. A connection that is
// being opened ends; any other remembers it for when it is given up (RFC 5461, RFC 5927, 4.1).
void segment_was_lost(tcp_pcb& c, uint32_t sequence, error why);

// Called at each time-out, before anything is sent again: if again and again the same large segment
// gets no answer, smaller ones may (RFC 4821, 7.7; RFC 8899).
void suspect_path(tcp_pcb& c);

// Every connection's segments are what its path takes now.
void resize_segments();

} // namespace oblako::net
