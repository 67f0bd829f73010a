// What the socket system calls share: from a descriptor to a socket, and addresses across the line.
#pragma once

#include "core/net/socket.hh"
#include "core/posix/file.hh"

namespace oblako::posix {

// A descriptor's socket. `file` holds the reference.
struct socket_of_fd {
  mem::ref<file> held;
  net::socket* socket;
  net::socket* operator->() const { return socket; }
};
// Errors: badf, notsock.
inline result<socket_of_fd> get_socket(int fd) {
  auto f = TRY(get_file(fd));
  net::socket* s = f->as_socket();
  if (!s)
    return error::notsock;
  return socket_of_fd{std::move(f), s};
}

// Errors: inval (length), fault.
inline result<void> read_address(net::socket_address& to, const void* app_from, socklen_t length) {
  if (length > sizeof to.storage)
    return error::inval;
  to.length = length;
  return mem::copy_from_app(&to.storage, app_from, length);
}

// Gives an address to the application: cut to what fits, the full length reported.
// Errors: inval (negative length), fault.
inline result<void> write_address(const net::socket_address& from, void* app_to,
                                  socklen_t* app_length) {
  if (!app_to)
    return {};
  const socklen_t room = TRY(mem::read_app(app_length));
  if (static_cast<int>(room) < 0)
    return error::inval;
  TRY(mem::copy_to_app(app_to, &from.storage, min_of(room, from.length)));
  return mem::write_app(app_length, from.length);
}

} // namespace oblako::posix
