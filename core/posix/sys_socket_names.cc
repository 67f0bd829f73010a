// bind, connect, listen, shutdown and the calls that ask for names.
#include "arch/x64/syscall_entry.hh"
#include "core/posix/socket_calls.hh"

using namespace oblako;
using namespace oblako::posix;

namespace {

result<void> bind_socket(int fd, const void* address, socklen_t length) {
  auto s = TRY(get_socket(fd));
  net::socket_address local;
  TRY(read_address(local, address, length));
  return s->bind(local);
}

result<void> connect_socket(int fd, const void* address, socklen_t length) {
  auto s = TRY(get_socket(fd));
  net::socket_address remote;
  TRY(read_address(remote, address, length));
  return s->connect(remote);
}

result<void> name_of(int fd, void* address, socklen_t* length, bool peer) {
  auto s = TRY(get_socket(fd));
  net::socket_address name;
  TRY(peer ? s->peer_name(name) : s->local_name(name));
  if (!address)
    return error::fault;
  return write_address(name, address, length);
}

} // namespace

OBLAKO_SYSCALL(sys_bind, do_bind);
extern "C" long do_bind(int fd, const void* address, socklen_t length) {
  return to_syscall(bind_socket(fd, address, length));
}

OBLAKO_SYSCALL_RESTARTABLE(sys_connect, do_connect);
extern "C" long do_connect(int fd, const void* address, socklen_t length) {
  return to_syscall(connect_socket(fd, address, length));
}

OBLAKO_SYSCALL(sys_listen, do_listen);
extern "C" long do_listen(int fd, int backlog) {
  auto s = get_socket(fd);
  return to_syscall(s.ok() ? s->socket->listen(backlog) : result<void>(s.code()));
}

OBLAKO_SYSCALL(sys_shutdown, do_shutdown);
extern "C" long do_shutdown(int fd, int how) {
  auto s = get_socket(fd);
  return to_syscall(s.ok() ? s->socket->shutdown(how) : result<void>(s.code()));
}

OBLAKO_SYSCALL(sys_getsockname, do_getsockname);
extern "C" long do_getsockname(int fd, void* address, socklen_t* length) {
  return to_syscall(name_of(fd, address, length, false));
}

OBLAKO_SYSCALL(sys_getpeername, do_getpeername);
extern "C" long do_getpeername(int fd, void* address, socklen_t* length) {
  return to_syscall(name_of(fd, address, length, true));
}
