// Connections between local sockets: a listener's queue holds the finished other ends.
#include "core/net/unix_socket_internal.hh"

#include <sys/epoll.h>

namespace oblako::net {
namespace {
constexpr int max_backlog = 4096;
} // namespace

result<void> unix_socket::listen(int backlog) {
  unix_guard guard(unix_lock);
  if (!is_stream())
    return error::opnotsupp;
  if (!bound_ || was_connected_)
    return error::inval;
  backlog_ = backlog < 0 ? max_backlog : min_of(backlog, max_backlog) + 1;
  listening_ = true;
  refresh();
  return {};
}

result<void> unix_socket::connect(const socket_address& remote) {
  if (remote.length >= sizeof(sa_family_t) && remote.base.sa_family == AF_UNSPEC && !is_stream()) {
    unix_guard guard(unix_lock);
    peer_ = {};
    was_connected_ = false;
    return {};
  }
  const unix_name n = TRY(unix_name_from(remote));
  for (;;) {
    const auto node = TRY(unix_name_node(n));
    mem::ref<unix_socket> target;
    {
      unix_guard guard(unix_lock);
      if (is_stream() && was_connected_)
        return error::isconn;
      if (is_stream() && listening_)
        return error::inval;
      target = mem::ref<unix_socket>::share(find_unix_name(n, node.get()));
      if (!target)
        return n.is_path() && !node ? error::noent : error::connrefused;
      if (target->type() != type())
        return error::prototype;
      if (!is_stream()) {
        peer_ = target;
        was_connected_ = true;
        refresh();
        return {};
      }
      if (!target->listening_ || target->read_shut_)
        return error::connrefused;
      if (target->waiting_ < target->backlog_)
        return connect_stream(*target);
    }
    if (nonblocking(0))
      return error::again;
    auto waited = sched::wait_until(
        target->readiness(),
        [&] {
          unix_guard guard(unix_lock);
          return !target->listening_ || target->waiting_ < target->backlog_;
        },
        send_deadline());
    if (!waited.ok())
      return wait_error(waited.code());
  }
}

// The lock is held. Makes the other end and puts it into the listener's queue.
result<void> unix_socket::connect_stream(unix_socket& listener) {
  auto child = TRY(mem::make_shared<unix_socket>(type(), 0u));
  child->name_ = listener.name_;
  child->settings_ = listener.settings_;
  pair_with(*child);
  unix_socket* c = child.leak();
  (listener.accepted_last_ ? listener.accepted_last_->next_accepted_ : listener.accepted_first_) =
      c;
  listener.accepted_last_ = c;
  ++listener.waiting_;
  listener.refresh(EPOLLIN | EPOLLRDNORM);
  return {};
}

result<mem::ref<socket>> unix_socket::accept(socket_address& peer, uint32_t flags) {
  if (!is_stream())
    return error::opnotsupp;
  const uint64_t deadline = receive_deadline();
  for (;;) {
    {
      unix_guard guard(unix_lock);
      if (!listening_)
        return error::inval;
      if (unix_socket* child = accepted_first_) {
        accepted_first_ = child->next_accepted_;
        if (!accepted_first_)
          accepted_last_ = nullptr;
        child->next_accepted_ = nullptr;
        --waiting_;
        refresh();
        readiness().wake_all(0); // a connect() may wait for room
        child->set_flags(flags);
        unix_name_to(child->peer_ ? child->peer_->name_ : unix_name{}, peer);
        return mem::ref<socket>(mem::ref<unix_socket>::adopt(child));
      }
      if (nonblocking(0))
        return error::again;
      if (read_shut_)
        return error::inval;
    }
    auto waited = sched::wait_until(
        readiness(), [this] { return poll_events() != 0; }, deadline);
    if (!waited.ok())
      return wait_error(waited.code());
  }
}

result<void> unix_socket::local_name(socket_address& out) {
  unix_guard guard(unix_lock);
  unix_name_to(name_, out);
  return {};
}

result<void> unix_socket::peer_name(socket_address& out) {
  unix_guard guard(unix_lock);
  if (!peer_)
    return error::notconn;
  unix_name_to(peer_->name_, out);
  return {};
}

} // namespace oblako::net
