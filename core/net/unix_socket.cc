// Local sockets: making and closing them, their poll bits and options. unix_socket_internal.hh says
// what is where.
#include "core/net/unix_socket_internal.hh"

#include <sys/epoll.h>
#include <sys/ioctl.h>

namespace oblako::net {

// Linux answers on any socket. There in an image that has the network.
[[gnu::weak]] result<long> interface_control(unsigned long request, void* app_argument);

constinit sched::mutex unix_lock;

unix_socket::unix_socket(int type, uint32_t status_flags) : socket(AF_UNIX, type, 0, status_flags) {
  settings_.send_buffer = settings_.receive_buffer = unix_queue_limit;
  events_ = current_events();
}

// closed() was called, or the socket never had a descriptor; then nothing was sent to it that holds
// others, unless it waited for accept(), and closed() of the listener saw to that.
unix_socket::~unix_socket() {
  while (unix_piece* p = first_) {
    first_ = p->next;
    free_piece(p);
  }
}

uint32_t unix_socket::current_events() const {
  constexpr uint32_t input = EPOLLIN | EPOLLRDNORM, output = EPOLLOUT | EPOLLWRNORM;
  if (listening_)
    return (accepted_first_ ? input : 0) | (read_shut_ ? input | EPOLLRDHUP | EPOLLHUP : 0);
  const bool peer_gone = was_connected_ && !peer_;
  const bool ended = read_shut_ || (is_stream() && peer_gone);
  uint32_t bits = 0;
  if (first_ || ended)
    bits |= input;
  if (ended)
    bits |= EPOLLRDHUP;
  if (!peer_ || peer_->has_room() || write_shut_)
    bits |= output;
  if (is_stream() && (peer_gone || !was_connected_ || (read_shut_ && write_shut_)))
    bits |= EPOLLHUP;
  return bits;
}

void unix_socket::refresh(uint32_t again) {
  const uint32_t now = current_events();
  const uint32_t before = events_;
  if (now != before)
    __atomic_store_n(&events_, now, __ATOMIC_RELEASE); // pairs with poll_events()
  if (const uint32_t news = (now & ~before) | (now & again))
    readiness().wake_all(news);
}

void unix_socket::pair_with(unix_socket& other) {
  peer_ = mem::ref<unix_socket>::share(&other);
  other.peer_ = mem::ref<unix_socket>::share(this);
  was_connected_ = other.was_connected_ = true;
  refresh();
  other.refresh();
}

void unix_socket::closed() {
  mem::ref<unix_socket> other; // dropped after the lock
  {
    unix_guard guard(unix_lock);
    finished_ = true;
    forget_name();
    other = std::move(peer_);
    if (other && other->peer_.get() == this) {
      other->peer_ = {};
      other->refresh();
    }
    while (unix_socket* child = accepted_first_) {
      accepted_first_ = child->next_accepted_;
      auto held = mem::ref<unix_socket>::adopt(child);
      drop_later(child->take_all_pieces());
      if (auto client = std::move(child->peer_)) {
        client->peer_ = {};
        client->refresh();
      }
    }
    listening_ = false;
    read_shut_ = write_shut_ = true;
    drop_later(take_all_pieces());
    unix_rights::consider_collecting();
    refresh();
  }
  drop_now();
  node_ = {}; // nobody finds it by that any more
}

result<void> unix_socket::shutdown(int how) {
  if (how < SHUT_RD || how > SHUT_RDWR)
    return error::inval;
  unix_guard guard(unix_lock);
  if (!peer_ && is_stream() && !listening_)
    return error::notconn;
  read_shut_ |= how != SHUT_WR;
  write_shut_ |= how != SHUT_RD;
  if (peer_ && is_stream()) {
    peer_->read_shut_ |= how != SHUT_RD;
    peer_->write_shut_ |= how != SHUT_WR;
    peer_->refresh();
  }
  refresh();
  return {};
}

result<void> unix_socket::get_option(int level, int name, void* value, socklen_t& length) {
  if (level == SOL_SOCKET && name == SO_PEERCRED) {
    const unix_credentials self = own_credentials(); // the only process there is
    return give_option(value, length, &self, sizeof self);
  }
  return socket::get_option(level, name, value, length);
}

result<long> unix_socket::control(unsigned long request, void* app_argument) {
  if (request != TIOCOUTQ && request != FIONREAD)
    return interface_control ? interface_control(request, app_argument)
                             : result<long>(error::notty);
  int bytes = 0;
  {
    unix_guard guard(unix_lock);
    // On its way out is also what a receiver's memory is taken for beside the data, as on Linux.
    if (request == TIOCOUTQ)
      bytes = peer_ ? static_cast<int>(peer_->queued_) : 0;
    else
      for (unix_piece* p = first_; p && (bytes == 0 || !keeps_boundaries()); p = p->next)
        bytes += static_cast<int>(p->end - p->begin);
  }
  TRY(mem::write_app(static_cast<int*>(app_argument), bytes));
  return 0;
}

namespace {

result<mem::ref<unix_socket>> make(int type, int protocol, uint32_t flags) {
  if (protocol != 0 && protocol != AF_UNIX)
    return error::protonosupport;
  if (type != SOCK_STREAM && type != SOCK_DGRAM && type != SOCK_SEQPACKET)
    return error::protonosupport;
  return mem::make_shared<unix_socket>(type, flags);
}

} // namespace

result<mem::ref<socket>> make_unix_socket(int type, int protocol, uint32_t status_flags) {
  return mem::ref<socket>(TRY(make(type, protocol, status_flags)));
}

result<void> make_unix_pair(int type, int protocol, uint32_t status_flags,
                            mem::ref<socket> (&out)[2]) {
  auto a = TRY(make(type, protocol, status_flags));
  auto b = TRY(make(type, protocol, status_flags));
  {
    unix_guard guard(unix_lock);
    a->pair_with(*b);
  }
  out[0] = std::move(a);
  out[1] = std::move(b);
  return {};
}

} // namespace oblako::net
