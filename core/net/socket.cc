#include "core/net/socket.hh"

#include "core/mem/buffer_account.hh"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>

namespace oblako::posix {
// Sends a signal to the running thread. Not there in an image without signals.
[[gnu::weak]] void raise_on_current(int signal);
} // namespace oblako::posix

namespace oblako::net {

namespace {

// SO_*TIMEO as Linux numbers them for 64-bit time; the _NEW forms are what some libraries pass.
constexpr int so_rcvtimeo = 20, so_sndtimeo = 21, so_rcvtimeo_new = 66, so_sndtimeo_new = 67;

constexpr uint32_t smallest_buffer = 4096, largest_buffer = 64u << 20;

result<uint64_t> timeout_of(const void* value, socklen_t length) {
  struct timeval t;
  if (length < sizeof t)
    return error::inval;
  memcpy(&t, value, sizeof t);
  if (t.tv_usec < 0 || t.tv_usec >= 1000000)
    return error::dom;
  if (t.tv_sec < 0)
    return uint64_t{1};
  if (t.tv_sec > 100 * 365 * 86400ll)
    return uint64_t{0};
  return static_cast<uint64_t>(t.tv_sec) * time::ns_per_s + static_cast<uint64_t>(t.tv_usec) * 1000;
}

result<void> give_timeout(void* value, socklen_t& length, uint64_t timeout) {
  const struct timeval t = {static_cast<time_t>(timeout / time::ns_per_s),
                            static_cast<suseconds_t>(timeout % time::ns_per_s / 1000)};
  return give_option(value, length, &t, sizeof t);
}

// Linux doubles what is asked for and reports the double. No socket may ask for more than all
// buffers together may hold before memory is short.
uint32_t buffer_size(int asked) {
  const auto most =
      static_cast<uint32_t>(min_of<uint64_t>(largest_buffer, mem::buffers.pressure()));
  const uint32_t bytes =
      asked < 0 ? most : static_cast<uint32_t>(min_of<int64_t>(int64_t{asked} * 2, most));
  return max_of(bytes, smallest_buffer);
}

} // namespace

result<int> option_int(const void* value, socklen_t length) {
  int number;
  if (length < sizeof number)
    return error::inval;
  memcpy(&number, value, sizeof number);
  return number;
}

result<void> give_option(void* value, socklen_t& length, const void* from, size_t bytes) {
  length = static_cast<socklen_t>(min_of<size_t>(length, bytes));
  memcpy(value, from, length);
  return {};
}

result<void> socket::bind(const socket_address&) {
  return error::opnotsupp;
}
result<void> socket::connect(const socket_address&) {
  return error::opnotsupp;
}
result<void> socket::listen(int) {
  return error::opnotsupp;
}
result<mem::ref<socket>> socket::accept(socket_address&, uint32_t) {
  return error::opnotsupp;
}
result<void> socket::shutdown(int) {
  return error::opnotsupp;
}

result<size_t> socket::read(mem::io_buffers& to) {
  if (to.remaining() == 0)
    return size_t{0};
  message m{to, 0};
  return receive(m);
}

result<size_t> socket::write(mem::io_buffers& from) {
  message m{from, 0};
  return send(m);
}

result<void> socket::status(struct stat& out) {
  out = {};
  out.st_mode = S_IFSOCK | 0777;
  out.st_ino = inode();
  out.st_nlink = 1;
  out.st_blksize = 4096;
  return {};
}

bool socket::nonblocking(int message_flags) const {
  return (message_flags & MSG_DONTWAIT) || (flags() & O_NONBLOCK);
}

error socket::broken_pipe(int message_flags) {
  if (!(message_flags & MSG_NOSIGNAL) && posix::raise_on_current)
    posix::raise_on_current(SIGPIPE);
  return error::pipe;
}

uint64_t socket::deadline_after(uint64_t timeout) {
  return timeout ? time::later(time::monotonic_ns(), timeout) : time::no_deadline;
}

result<void> socket::set_option(int level, int name, const void* value, socklen_t length) {
  if (level != SOL_SOCKET)
    return error::noprotoopt;
  return set_socket_option(name, value, length);
}

result<void> socket::get_option(int level, int name, void* value, socklen_t& length) {
  if (level != SOL_SOCKET)
    return error::noprotoopt;
  return get_socket_option(name, value, length);
}

result<void> socket::set_socket_option(int name, const void* value, socklen_t length) {
  switch (name) {
  case SO_LINGER: {
    struct linger l;
    if (length < sizeof l)
      return error::inval;
    memcpy(&l, value, sizeof l);
    settings_.linger = l.l_onoff != 0;
    settings_.linger_seconds = l.l_linger;
    return {};
  }
  case so_rcvtimeo:
  case so_rcvtimeo_new:
    receive_timeout_ = TRY(timeout_of(value, length));
    return {};
  case so_sndtimeo:
  case so_sndtimeo_new:
    send_timeout_ = TRY(timeout_of(value, length));
    return {};
  case SO_TYPE:
  case SO_DOMAIN:
  case SO_PROTOCOL:
  case SO_ERROR:
  case SO_ACCEPTCONN:
    return error::noprotoopt;
  }
  const int number = TRY(option_int(value, length));
  switch (name) {
  case SO_REUSEADDR:
    settings_.reuse_address = number != 0;
    break;
  case SO_REUSEPORT:
    settings_.reuse_port = number != 0;
    break;
  case SO_KEEPALIVE:
    settings_.keepalive = number != 0;
    break;
  case SO_BROADCAST:
    settings_.broadcast = number != 0;
    break;
  case SO_RCVBUF:
  case SO_RCVBUFFORCE:
    settings_.receive_buffer = buffer_size(number);
    break;
  case SO_SNDBUF:
  case SO_SNDBUFFORCE:
    settings_.send_buffer = buffer_size(number);
    break;
  case SO_PASSCRED:
    settings_.pass_credentials = number != 0;
    break;
  case SO_TIMESTAMP:
    settings_.timestamp = number != 0;
    break;
  case SO_RCVLOWAT:
    settings_.low_water =
        number < 0 ? ~0u >> 1 : max_of<uint32_t>(static_cast<uint32_t>(number), 1);
    break;
  case SO_PRIORITY:
    settings_.priority = number;
    break;
  case SO_OOBINLINE:
  case SO_DONTROUTE:
  case SO_BUSY_POLL:
    break; // nothing to follow from them here
  default:
    return error::noprotoopt;
  }
  settings_changed();
  return {};
}

result<void> socket::get_socket_option(int name, void* value, socklen_t& length) {
  switch (name) {
  case SO_LINGER: {
    const struct linger l = {settings_.linger, settings_.linger_seconds};
    return give_option(value, length, &l, sizeof l);
  }
  case so_rcvtimeo:
  case so_rcvtimeo_new:
    return give_timeout(value, length, receive_timeout_);
  case so_sndtimeo:
  case so_sndtimeo_new:
    return give_timeout(value, length, send_timeout_);
  case SO_TYPE:
    return give_option_int(value, length, type_);
  case SO_DOMAIN:
    return give_option_int(value, length, domain_);
  case SO_PROTOCOL:
    return give_option_int(value, length, protocol_);
  case SO_ERROR:
    return give_option_int(value, length, static_cast<int>(take_error()));
  case SO_ACCEPTCONN:
    return give_option_int(value, length, accepting());
  case SO_REUSEADDR:
    return give_option_int(value, length, settings_.reuse_address);
  case SO_REUSEPORT:
    return give_option_int(value, length, settings_.reuse_port);
  case SO_KEEPALIVE:
    return give_option_int(value, length, settings_.keepalive);
  case SO_BROADCAST:
    return give_option_int(value, length, settings_.broadcast);
  case SO_RCVBUF:
    return give_option_int(value, length, static_cast<int>(settings_.receive_buffer));
  case SO_SNDBUF:
    return give_option_int(value, length, static_cast<int>(settings_.send_buffer));
  case SO_RCVLOWAT:
    return give_option_int(value, length, static_cast<int>(settings_.low_water));
  case SO_SNDLOWAT:
    return give_option_int(value, length, 1);
  case SO_PRIORITY:
    return give_option_int(value, length, settings_.priority);
  case SO_PASSCRED:
    return give_option_int(value, length, settings_.pass_credentials);
  case SO_TIMESTAMP:
    return give_option_int(value, length, settings_.timestamp);
  case SO_OOBINLINE:
  case SO_DONTROUTE:
  case SO_BUSY_POLL:
    return give_option_int(value, length, 0);
  default:
    return error::noprotoopt;
  }
}

} // namespace oblako::net
