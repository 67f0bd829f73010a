// What the stack does that applications can ask for: sockets' options and /proc/sys/net tell it
// from here.
#pragma once

#include <stdint.h>

namespace oblako::net {

// Ports that are chosen for sockets without one (RFC 6056); Linux's default range.
constexpr uint16_t first_local_port = 32768, last_local_port = 60999;

// The one there is (core/net/cubic.hh).
constexpr char congestion_control[] = "cubic";

} // namespace oblako::net
