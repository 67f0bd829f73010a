// CUBIC (RFC 9438): congestion avoidance as a function of the time since it began, with the names
// of the RFC, in integers. Slow start and recovery are not in here.
#pragma once

#include "core/net/lwip/cubic_state.h"

namespace oblako::net {

struct cubic_path {
  uint32_t mss;        // octets
  uint32_t round_trip; // milliseconds
};

// The window after an acknowledgement of so many octets in congestion avoidance. `prior` is the
// window before the last reduction; `counted` belongs to the connection, octets acknowledged since
// w_est has grown. Units: octets; milliseconds.
uint32_t cubic_grown(tcp_cubic& c, uint32_t& counted, uint32_t window, uint32_t acknowledged,
                     const cubic_path& p, uint32_t prior, uint32_t now);

// The window was not in use, or is set by other means: growth begins anew with the next
// acknowledgement that counts.
inline void cubic_pause(tcp_cubic& c) {
  c.w_est = 0;
}

// Something is lost: what so many octets in flight are to be reduced to (4.6), not below two
// segments.
uint32_t cubic_reduced(tcp_cubic& c, uint32_t window, uint32_t flight, uint32_t mss);
// It was not, after all (4.9).
void cubic_undo(tcp_cubic& c);
// A time-out: the next growth begins without knowing w_max (4.8).
void cubic_timed_out(tcp_cubic& c);

// 4.2: the time until the window has grown by so many octets to w_max, and what it is at a time
// after (or before) that. Units: milliseconds; octets.
uint32_t cubic_k(uint32_t octets, uint32_t mss);
uint32_t cubic_window(const tcp_cubic& c, uint32_t t, uint32_t mss);

} // namespace oblako::net
