// Private to core/net: who has which local port of TCP (tcp_ports.cc).
#pragma once

#include "core/net/local_connection.hh"
#include "lwip/tcp.h"
#include <stdint.h>

namespace oblako::net {

// The control blocks and joined sockets with one local port, chained by port_next; a port that
// nobody has has none.
struct port_users {
  port_users* in_bucket;
  tcp_pcb* blocks; // bound, connecting, connected, closing
  tcp_pcb_listen* listeners;
  local_end* joined;
  uint16_t port;
};

// nullptr: nobody has it. Valid until a block with this port goes. Context: the stack's lock.
const port_users* users_of(uint16_t port);

// True if a connection from this port to that place would not be the only one of its kind, or the
// port is somebody's who asked for it and is not connected. As on Linux, connections to different
// places may share a port that was chosen for them.
bool port_taken_towards(uint16_t port, const ip_addr_t& remote_ip, uint16_t remote_port);

// False: no memory.
bool join_port(local_end& e, uint16_t port);
void leave_port(local_end& e, uint16_t port);

} // namespace oblako::net
