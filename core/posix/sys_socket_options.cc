// setsockopt and getsockopt. Values pass through a small kernel buffer; the socket knows the
// options.
#include "arch/x64/syscall_entry.hh"
#include "core/posix/socket_calls.hh"

using namespace oblako;
using namespace oblako::posix;

namespace {

constexpr socklen_t longest_value = 256; // struct tcp_info is the largest

result<void> set_option(int fd, int level, int name, const void* app_value, socklen_t length) {
  auto s = TRY(get_socket(fd));
  if (static_cast<int>(length) < 0)
    return error::inval;
  alignas(8) uint8_t value[longest_value];
  length = min_of(length, longest_value);
  TRY(mem::copy_from_app(value, app_value, length));
  return s->set_option(level, name, value, length);
}

result<void> get_option(int fd, int level, int name, void* app_value, socklen_t* app_length) {
  auto s = TRY(get_socket(fd));
  const socklen_t room = TRY(mem::read_app(app_length));
  if (static_cast<int>(room) < 0)
    return error::inval;
  alignas(8) uint8_t value[longest_value];
  socklen_t length = min_of(room, longest_value);
  TRY(s->get_option(level, name, value, length));
  TRY(mem::copy_to_app(app_value, value, length));
  return mem::write_app(app_length, length);
}

} // namespace

OBLAKO_SYSCALL(sys_setsockopt, do_setsockopt);
extern "C" long do_setsockopt(int fd, int level, int name, const void* value, socklen_t length) {
  return to_syscall(set_option(fd, level, name, value, length));
}

OBLAKO_SYSCALL(sys_getsockopt, do_getsockopt);
extern "C" long do_getsockopt(int fd, int level, int name, void* value, socklen_t* length) {
  return to_syscall(get_option(fd, level, name, value, length));
}
