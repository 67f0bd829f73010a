// The other side of TCP connections to the fuzzed machine: a good client, and what many of them do.
#pragma once

#include "tests/fuzz/application.hh"
#include "tests/fuzz/machine.hh"

namespace fuzz {

constexpr uint32_t clients_first = 0xfffffff0; // their first sequence number is about to wrap

// To the listener. Its own port identifies it: `c` becomes what the wire knows of it. False if the
// machine did not answer the SYN.
struct handshake {
  uint16_t window = 0xffff;
  bytes options = {};
  bool complete = true;
};
bool shake_hands(connection& c, const handshake& h);

// A client over IPv4 that behaves well is served; anything else is a finding. The application is
// closed before and after.
void check_service(application& app);

// Uses what makes a table when it is first needed, so that it is there before settle() looks at
// memory: a connection of each family that ends here first and so has its TIME_WAIT here.
void warm_up(application& app);

} // namespace fuzz
