// Sockets as files: what every kind of socket offers to the system calls
// (core/posix/sys_socket*.cc). Streams and datagrams over IP are in tcp_socket.hh and
// udp_socket.hh, local ones in unix_socket.hh.
#pragma once

#include "core/posix/file.hh"
#include "core/time/clock.hh"
#include <sys/socket.h>

namespace oblako::net {

class control_data;

// A socket address in kernel memory, as the application passed it.
struct socket_address {
  socklen_t length = 0;
  union {
    sockaddr base;
    sockaddr_storage storage;
  };
  socket_address() : storage{} {}
};

class socket : public posix::file {
public:
  using counts_as_buffer = void;
  socket(int domain, int type, int protocol, uint32_t status_flags)
      : posix::file(status_flags), domain_(domain), type_(type), protocol_(protocol) {}

  socket* as_socket() override { return this; }

  virtual result<void> bind(const socket_address& local);
  virtual result<void> connect(const socket_address& remote);
  virtual result<void> listen(int backlog);
  // `flags` are the new socket's status flags. Blocks unless O_NONBLOCK is set on this one.
  virtual result<mem::ref<socket>> accept(socket_address& peer, uint32_t flags);
  virtual result<void> local_name(socket_address& out) = 0;
  virtual result<void> peer_name(socket_address& out) = 0;
  virtual result<void> shutdown(int how);

  // One message, or a piece of the stream. `to` may be nullptr. Errors as send(2), recv(2).
  struct message {
    mem::io_buffers& data;
    int flags;                         // MSG_*; receive() sets MSG_TRUNC and the like in out_flags
    socket_address* address = nullptr; // send: destination; receive: filled in
    int out_flags = 0;
    control_data* control = nullptr; // send: what goes along; receive: where it goes
  };
  virtual result<size_t> send(message& m) = 0;
  virtual result<size_t> receive(message& m) = 0;

  // Options, values in kernel memory. The common ones are handled here; kinds add theirs.
  // Errors: noprotoopt, inval.
  virtual result<void> set_option(int level, int name, const void* value, socklen_t length);
  virtual result<void> get_option(int level, int name, void* value, socklen_t& length);

  // --- posix::file
  result<size_t> read(mem::io_buffers& to) override;
  result<size_t> write(mem::io_buffers& from) override;
  result<void> status(struct stat& out) override;

  int domain() const { return domain_; }
  int type() const { return type_; }
  int protocol() const { return protocol_; }
  bool is_accepting() const { return accepting(); }
  // st_ino, and what /proc/net calls it: unique while it lives.
  uint64_t inode() const { return reinterpret_cast<uintptr_t>(this) >> 4 & 0xffffffff; }

protected:
  // Takes the pending error (SO_ERROR), leaving none.
  virtual error take_error() { return error::none; }
  virtual bool accepting() const { return false; }

  bool nonblocking(int message_flags) const;
  uint64_t receive_deadline() const { return deadline_after(receive_timeout_); }
  uint64_t send_deadline() const { return deadline_after(send_timeout_); }
  // What a wait that ended in `e` means to the caller: a timed-out SO_RCVTIMEO is EAGAIN.
  static error wait_error(error e) { return e == error::timedout ? error::again : e; }
  // EPIPE, with SIGPIPE unless MSG_NOSIGNAL.
  static error broken_pipe(int message_flags);

  struct settings {
    bool reuse_address = false;
    bool reuse_port = false;
    bool keepalive = false;
    bool broadcast = false;
    bool pass_credentials = false;
    bool timestamp = false;
    bool linger = false;
    int linger_seconds = 0;
    uint32_t low_water = 1; // SO_RCVLOWAT
    int priority = 0;
    uint32_t receive_buffer = 0;
    uint32_t send_buffer = 0;
  };
  settings settings_;
  // A kind of socket follows a changed setting.
  virtual void settings_changed() {}

private:
  static uint64_t deadline_after(uint64_t timeout);
  result<void> set_socket_option(int name, const void* value, socklen_t length);
  result<void> get_socket_option(int name, void* value, socklen_t& length);

  const int domain_, type_, protocol_;
  uint64_t receive_timeout_ = 0, send_timeout_ = 0; // ns, 0: none
};

// Helpers for option values. Errors: inval (too short).
result<int> option_int(const void* value, socklen_t length);
result<void> give_option(void* value, socklen_t& length, const void* from, size_t bytes);
inline result<void> give_option_int(void* value, socklen_t& length, int number) {
  return give_option(value, length, &number, sizeof number);
}

} // namespace oblako::net
