// sendto and recvfrom (send and recv are these in the C library).
#include "arch/x64/syscall_entry.hh"
#include "core/posix/io_vector.hh"
#include "core/posix/socket_calls.hh"

using namespace oblako;
using namespace oblako::posix;

namespace {

result<size_t> send_to(int fd, const void* data, size_t bytes, int flags, const void* address,
                       socklen_t length) {
  auto s = TRY(get_socket(fd));
  auto buffers = TRY(mem::io_buffers::app(const_cast<void*>(data), bytes));
  net::socket::message m{buffers, flags};
  net::socket_address to;
  if (address) {
    TRY(read_address(to, address, length));
    m.address = &to;
  }
  return s->send(m);
}

result<size_t> receive_from(int fd, void* data, size_t bytes, int flags, void* address,
                            socklen_t* length) {
  auto s = TRY(get_socket(fd));
  auto buffers = TRY(mem::io_buffers::app(data, bytes));
  net::socket::message m{buffers, flags};
  net::socket_address from;
  if (address)
    m.address = &from;
  const size_t received = TRY(s->receive(m));
  TRY(write_address(from, address, length));
  return received;
}

} // namespace

OBLAKO_SYSCALL_RESTARTABLE(sys_sendto, do_sendto);
extern "C" long do_sendto(int fd, const void* data, size_t bytes, int flags, const void* address,
                          socklen_t length) {
  return to_syscall(send_to(fd, data, bytes, flags, address, length));
}

OBLAKO_SYSCALL_RESTARTABLE(sys_recvfrom, do_recvfrom);
extern "C" long do_recvfrom(int fd, void* data, size_t bytes, int flags, void* address,
                            socklen_t* length) {
  return to_syscall(receive_from(fd, data, bytes, flags, address, length));
}
