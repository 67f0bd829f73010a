// accept and accept4.
#include "arch/x64/syscall_entry.hh"
#include "core/posix/socket_calls.hh"
#include <fcntl.h>

using namespace oblako;
using namespace oblako::posix;

namespace {

result<int> accept_socket(int fd, void* address, socklen_t* length, int flags) {
  if (flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC))
    return error::inval;
  auto s = TRY(get_socket(fd));
  net::socket_address peer;
  auto child = TRY(s->accept(peer, O_RDWR | (flags & SOCK_NONBLOCK ? O_NONBLOCK : 0)));
  TRY(write_address(peer, address, length));
  return install_file(mem::ref<file>(std::move(child)),
                      flags & SOCK_CLOEXEC ? close_on_exec::yes : close_on_exec::no);
}

} // namespace

OBLAKO_SYSCALL_RESTARTABLE(sys_accept, do_accept);
extern "C" long do_accept(int fd, void* address, socklen_t* length) {
  return to_syscall(accept_socket(fd, address, length, 0));
}

OBLAKO_SYSCALL_RESTARTABLE(sys_accept4, do_accept4);
extern "C" long do_accept4(int fd, void* address, socklen_t* length, int flags) {
  return to_syscall(accept_socket(fd, address, length, flags));
}
