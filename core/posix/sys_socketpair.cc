// socketpair(2): two local sockets that are each other's peer.
#include "arch/x64/syscall_entry.hh"
#include "core/net/unix_socket.hh"
#include "core/posix/file.hh"
#include <fcntl.h>
#include <sys/socket.h>

using namespace oblako;
using namespace oblako::posix;

namespace {

result<void> socket_pair(int domain, int type, int protocol, int* app_out) {
  if (domain != AF_UNIX)
    return domain == AF_INET || domain == AF_INET6 ? error::opnotsupp : error::afnosupport;
  const auto flags = type & SOCK_CLOEXEC ? close_on_exec::yes : close_on_exec::no;
  mem::ref<net::socket> ends[2];
  TRY(net::make_unix_pair(type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC), protocol,
                          O_RDWR | (type & SOCK_NONBLOCK ? O_NONBLOCK : 0), ends));
  int numbers[2];
  numbers[0] = TRY(install_file(std::move(ends[0]), flags));
  auto second = install_file(std::move(ends[1]), flags);
  if (!second.ok()) {
    fd_table::dropped(descriptors.remove(numbers[0]));
    return second.code();
  }
  numbers[1] = *second;
  auto given = mem::copy_to_app(app_out, numbers, sizeof numbers);
  if (!given.ok())
    for (int fd : numbers)
      fd_table::dropped(descriptors.remove(fd));
  return given;
}

} // namespace

OBLAKO_SYSCALL(sys_socketpair, do_socketpair);
extern "C" long do_socketpair(int domain, int type, int protocol, int* out) {
  return to_syscall(socket_pair(domain, type, protocol, out));
}
