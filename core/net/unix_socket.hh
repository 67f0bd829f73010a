// Local sockets (AF_UNIX): pairs and named ones, stream and datagram. No part of the network stack.
#pragma once

#include "core/net/socket.hh"

namespace oblako::net {

// Errors: protonosupport, socktype (as protonosupport), nomem.
result<mem::ref<socket>> make_unix_socket(int type, int protocol, uint32_t status_flags);
// Two connected sockets.
result<void> make_unix_pair(int type, int protocol, uint32_t status_flags,
                            mem::ref<socket> (&out)[2]);

} // namespace oblako::net
