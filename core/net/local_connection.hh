// TCP connections between two sockets of this machine. They pass no segments and have no control
// blocks of lwIP's: connect() joins the two sockets, and what one writes is put into the other's
// receive queue, the same queue of packet buffers into which segments go otherwise. So reading,
// waiting and the poll bits are tcp_socket's own; tcp_loopback.cc adds joining, writing and ending.
//
// Invariants, all under the stack's lock
//   1. A socket's connection_ and the connection's entry in ends[] point at each other, or the
//      entry is null and the socket has left. A socket with a connection has no control block.
//      A socket in a connection has its place among the users of its port.
//   2. A socket leaves when it is closed or the connection is reset, always before it is destroyed;
//      the one that leaves last frees the connection. Neither owns the other: who is left alone
//      sees it by the null entry.
//   3. What was written belongs to the reader's queue from then on. It is charged to the reader
//      (received_bytes_); the writer may add as long as that is below its limit (room_there()).
//   4. A writer that found no room has full_ set, and whoever takes from the queue clears it when a
//      third is free. A reader that waits for SO_RCVLOWAT is not kept waiting by a full writer.
//   5. The end of a stream is the reader's peer_closed_, set under the same lock hold as the
//      writer's write_shut_: nothing can be put into the queue behind it.
//   6. A connection that nobody has accepted yet is the listener's: its socket stands in the
//      listener's queue and counts there until accept() or the listener's end.
//
// lwIP still does what has no two sockets yet: a connect() that finds the listener's backlog full
// waits in line (backlog.hh) in SYN_SENT with lwIP's timers, until there is room and it is joined
// (or the time is over); and a socket that connects to itself talks to itself in segments.
#pragma once

#include "core/net/inet_address.hh"

namespace oblako::net {

class tcp_socket;

// One of them, also chained with the others of its port (tcp_ports.hh).
struct local_end {
  tcp_socket* socket = nullptr;
  local_end* port_next = nullptr;
  local_end** port_link = nullptr; // what points here
};

struct local_connection {
  using counts_as_buffer = void;
  local_end ends[2]; // who connected, who was listening
  local_connection* next = nullptr;
  local_connection** link = nullptr; // what points here
};

// All there are, linked both ways.
extern local_connection* local_connections;

// Calls visit(tcp_socket&) with each socket that has such a connection.
template <class Visitor>
void for_each_local_end(Visitor visit) {
  for (const local_connection* c = local_connections; c; c = c->next)
    for (const local_end& e : c->ends)
      if (e.socket)
        visit(*e.socket);
}

// True for the addresses that packets never leave for, 127.0.0.0/8 as a whole among them.
bool is_own_address(const ip_addr_t& a);

} // namespace oblako::net
