// socket(2): the one place that names the kinds of socket there are, and so what links them.
#include "arch/x64/syscall_entry.hh"
#include "core/net/netlink.hh"
#include "core/net/tcp_socket.hh"
#include "core/net/udp_socket.hh"
#include "core/net/unix_socket.hh"
#include "core/posix/socket_calls.hh"
#include <fcntl.h>
#include <netinet/in.h>

using namespace oblako;
using namespace oblako::posix;

namespace {

constexpr int type_flags = SOCK_NONBLOCK | SOCK_CLOEXEC;

result<mem::ref<file>> make_socket(int domain, int type, int protocol, uint32_t flags) {
  if (domain == AF_UNIX)
    return mem::ref<file>(TRY(net::make_unix_socket(type, protocol, flags)));
  if (domain == AF_NETLINK)
    return mem::ref<file>(TRY(net::make_netlink_socket(type, protocol, flags)));
  if (domain != AF_INET && domain != AF_INET6)
    return error::afnosupport;
  if (type == SOCK_STREAM && (protocol == 0 || protocol == IPPROTO_TCP))
    return mem::ref<file>(TRY(net::tcp_socket::make(domain, flags)));
  if (type == SOCK_DGRAM && (protocol == 0 || protocol == IPPROTO_UDP))
    return mem::ref<file>(TRY(net::udp_socket::make(domain, flags)));
  if (type == SOCK_RAW || type == SOCK_PACKET)
    return error::perm;
  return error::protonosupport;
}

result<int> open_socket(int domain, int type, int protocol) {
  const uint32_t flags = O_RDWR | (type & SOCK_NONBLOCK ? O_NONBLOCK : 0);
  auto s = TRY(make_socket(domain, type & ~type_flags, protocol, flags));
  return install_file(std::move(s), type & SOCK_CLOEXEC ? close_on_exec::yes : close_on_exec::no);
}

} // namespace

OBLAKO_SYSCALL(sys_socket, do_socket);
extern "C" long do_socket(int domain, int type, int protocol) {
  return to_syscall(open_socket(domain, type, protocol));
}
