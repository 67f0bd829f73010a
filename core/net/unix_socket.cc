// One lock guards all local sockets: what they do under it is short. Names live in a table of their
// own; they do not show in the file system.
#include "core/net/unix_socket.hh"

#include "core/base/late.hh"
#include "core/base/types.hh"
#include <boost/intrusive/list.hpp>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/un.h>

namespace oblako::net {
namespace {

constexpr uint32_t queue_limit = 212992; // bytes a receiver holds, as on Linux
constexpr size_t largest_piece = 16_KiB;
constexpr int max_backlog = 4096;

constinit sched::mutex unix_lock;

struct unix_name {
  uint32_t length = 0; // of `text`; an abstract name begins with a zero byte
  char text[sizeof(sockaddr_un::sun_path)] = {};

  bool operator==(const unix_name& o) const {
    return length == o.length && memcmp(text, o.text, length) == 0;
  }
};

// Data in a receiver's queue: part of a stream, or one datagram.
struct piece {
  piece* next;
  uint32_t begin, end; // of what is left in data()
  unix_name from;      // datagrams only
  uint8_t* data() { return reinterpret_cast<uint8_t*>(this + 1); }
};

result<unix_name> name_from(const socket_address& a) {
  const auto& un = reinterpret_cast<const sockaddr_un&>(a.storage);
  if (a.length < sizeof(sa_family_t) || un.sun_family != AF_UNIX || a.length > sizeof un)
    return error::inval;
  unix_name n;
  n.length = a.length - offsetof(sockaddr_un, sun_path);
  if (a.length <= offsetof(sockaddr_un, sun_path))
    return n; // unnamed
  memcpy(n.text, un.sun_path, n.length);
  if (n.text[0] != 0)
    n.length = static_cast<uint32_t>(strnlen(n.text, n.length));
  return n;
}

void name_to(const unix_name& n, socket_address& out) {
  auto& un = reinterpret_cast<sockaddr_un&>(out.storage);
  memset(&un, 0, sizeof un);
  un.sun_family = AF_UNIX;
  memcpy(un.sun_path, n.text, n.length);
  const bool terminated = n.length != 0 && n.text[0] != 0 && n.length < sizeof un.sun_path;
  out.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path)) + n.length + terminated;
}

class unix_socket;
using name_hook =
    boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::normal_link>>;

class unix_socket final : public socket, public name_hook {
public:
  unix_socket(int type, uint32_t status_flags) : socket(AF_UNIX, type, 0, status_flags) {
    settings_.send_buffer = settings_.receive_buffer = queue_limit;
    events_ = current_events();
  }
  ~unix_socket() override { drop_pieces(); }

  result<void> bind(const socket_address& local) override;
  result<void> connect(const socket_address& remote) override;
  result<void> listen(int backlog) override;
  result<mem::ref<socket>> accept(socket_address& peer, uint32_t flags) override;
  result<void> local_name(socket_address& out) override;
  result<void> peer_name(socket_address& out) override;
  result<void> shutdown(int how) override;
  result<size_t> send(message& m) override;
  result<size_t> receive(message& m) override;
  result<void> get_option(int level, int name, void* value, socklen_t& length) override;
  result<long> control(unsigned long request, void* app_argument) override;
  uint32_t poll_events() override { return __atomic_load_n(&events_, __ATOMIC_ACQUIRE); }
  void closed() override;

  void pair_with(unix_socket& other);
  const unix_name& name() const { return name_; }

private:
  bool accepting() const override { return listening_; }
  bool is_stream() const { return type() != SOCK_DGRAM; }
  bool keeps_boundaries() const { return type() != SOCK_STREAM; }

  uint32_t current_events() const;
  void refresh(uint32_t again = 0);
  void drop_pieces();
  void append(piece* p);
  result<void> connect_stream(unix_socket& listener);
  // Where a message goes. Errors: pipe, notconn, destaddrreq, connrefused.
  result<mem::ref<unix_socket>> receiver_for(const message& m);
  result<size_t> send_once(message& m);
  result<size_t> take(message& m);

  // --- guarded by unix_lock
  unix_name name_;
  mem::ref<unix_socket> peer_; // broken by whichever side is closed first
  piece* first_ = nullptr;
  piece* last_ = nullptr;
  uint32_t queued_ = 0;
  bool bound_ = false, listening_ = false, was_connected_ = false, finished_ = false;
  bool read_shut_ = false, write_shut_ = false;
  int backlog_ = 0, waiting_ = 0;
  unix_socket* accepted_first_ = nullptr; // connected, waiting for accept(); references held
  unix_socket* accepted_last_ = nullptr;
  unix_socket* next_accepted_ = nullptr;
  uint32_t events_; // atomic: read without the lock
};

using name_table = boost::intrusive::list<unix_socket, boost::intrusive::base_hook<name_hook>,
                                          boost::intrusive::constant_time_size<false>>;
late<name_table> names_storage;
bool names_made;

name_table& names() {
  if (!names_made) {
    names_storage.construct();
    names_made = true;
  }
  return *names_storage;
}

unix_socket* find(const unix_name& n);

// --- state

uint32_t unix_socket::current_events() const {
  constexpr uint32_t input = EPOLLIN | EPOLLRDNORM, output = EPOLLOUT | EPOLLWRNORM;
  if (listening_)
    return accepted_first_ ? input : 0;
  const bool peer_gone = was_connected_ && !peer_;
  const bool ended = read_shut_ || (is_stream() && peer_gone);
  uint32_t bits = 0;
  if (first_ || ended)
    bits |= input;
  if (ended)
    bits |= EPOLLRDHUP;
  if (!peer_ || peer_->queued_ < queue_limit || write_shut_)
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

void unix_socket::drop_pieces() {
  while (piece* p = first_) {
    first_ = p->next;
    mem::release(p);
  }
  last_ = nullptr;
  queued_ = 0;
}

void unix_socket::append(piece* p) {
  p->next = nullptr;
  (last_ ? last_->next : first_) = p;
  last_ = p;
  queued_ += p->end - p->begin + (keeps_boundaries() ? uint32_t{sizeof(piece)} : 0);
  refresh(EPOLLIN | EPOLLRDNORM);
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
  sched::lock_guard guard(unix_lock);
  finished_ = true;
  if (bound_)
    names().erase(names().iterator_to(*this));
  bound_ = false;
  other = std::move(peer_);
  if (other && other->peer_.get() == this) {
    other->peer_ = {};
    other->refresh();
  }
  while (unix_socket* child = accepted_first_) {
    accepted_first_ = child->next_accepted_;
    auto held = mem::ref<unix_socket>::adopt(child);
    if (auto client = std::move(child->peer_)) {
      client->peer_ = {};
      client->refresh();
    }
  }
  listening_ = false;
  read_shut_ = write_shut_ = true;
  drop_pieces();
  refresh();
}

// --- names and connections

unix_socket* find(const unix_name& n) {
  for (unix_socket& s : names())
    if (s.name() == n)
      return &s;
  return nullptr;
}

result<void> unix_socket::bind(const socket_address& local) {
  unix_name wanted = TRY(name_from(local));
  sched::lock_guard guard(unix_lock);
  if (bound_)
    return error::inval;
  for (unsigned attempt = 0; wanted.length == 0; ++attempt) {
    // Autobind: an abstract name of five hexadecimal digits.
    wanted.length = 6;
    static uint32_t next_name;
    uint32_t number = next_name++;
    for (unsigned i = 5; i > 0; --i, number >>= 4)
      wanted.text[i] = "0123456789abcdef"[number & 15];
    if (find(wanted) && attempt < 1u << 20)
      wanted.length = 0;
  }
  if (find(wanted))
    return error::addrinuse;
  name_ = wanted;
  bound_ = true;
  names().push_back(*this);
  return {};
}

result<void> unix_socket::local_name(socket_address& out) {
  name_to(name_, out);
  return {};
}

result<void> unix_socket::peer_name(socket_address& out) {
  sched::lock_guard guard(unix_lock);
  if (!peer_)
    return error::notconn;
  name_to(peer_->name_, out);
  return {};
}

result<void> unix_socket::listen(int backlog) {
  sched::lock_guard guard(unix_lock);
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
    sched::lock_guard guard(unix_lock);
    peer_ = {};
    was_connected_ = false;
    return {};
  }
  const unix_name n = TRY(name_from(remote));
  for (;;) {
    mem::ref<unix_socket> target;
    {
      sched::lock_guard guard(unix_lock);
      if (is_stream() && was_connected_)
        return error::isconn;
      target = mem::ref<unix_socket>::share(find(n));
      if (!target)
        return n.length && n.text[0] != 0 ? error::noent : error::connrefused;
      if (target->type() != type())
        return error::prototype;
      if (!is_stream()) {
        peer_ = target;
        was_connected_ = true;
        refresh();
        return {};
      }
      if (!target->listening_)
        return error::connrefused;
      if (target->waiting_ < target->backlog_)
        return connect_stream(*target);
    }
    if (nonblocking(0))
      return error::again;
    auto waited = sched::wait_until(
        target->readiness(),
        [&] {
          sched::lock_guard guard(unix_lock);
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
  const uint64_t deadline = receive_deadline();
  for (;;) {
    {
      sched::lock_guard guard(unix_lock);
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
        name_to(child->peer_ ? child->peer_->name_ : unix_name{}, peer);
        return mem::ref<socket>(mem::ref<unix_socket>::adopt(child));
      }
    }
    if (nonblocking(0))
      return error::again;
    auto waited = sched::wait_until(
        readiness(), [this] { return poll_events() != 0; }, deadline);
    if (!waited.ok())
      return wait_error(waited.code());
  }
}

result<void> unix_socket::shutdown(int how) {
  if (how < SHUT_RD || how > SHUT_RDWR)
    return error::inval;
  sched::lock_guard guard(unix_lock);
  if (!peer_ && is_stream())
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

// --- transfer

result<mem::ref<unix_socket>> unix_socket::receiver_for(const message& m) {
  if (write_shut_)
    return error::pipe;
  if (!is_stream() && m.address) {
    const unix_name n = TRY(name_from(*m.address));
    unix_socket* target = find(n);
    if (!target)
      return n.length && n.text[0] != 0 ? error::noent : error::connrefused;
    return target->type() == type()
               ? result<mem::ref<unix_socket>>(mem::ref<unix_socket>::share(target))
               : result<mem::ref<unix_socket>>(error::prototype);
  }
  if (m.address)
    return was_connected_ ? error::isconn : error::opnotsupp;
  if (!peer_)
    return was_connected_ ? (is_stream() ? error::pipe : error::connrefused) : error::notconn;
  if (peer_->finished_)
    return error::connrefused;
  return peer_;
}

// One piece into the receiver's queue. Errors: again (no room now), and those of receiver_for().
result<size_t> unix_socket::send_once(message& m) {
  const size_t bytes =
      keeps_boundaries() ? m.data.remaining() : min_of(m.data.remaining(), largest_piece);
  if (bytes > queue_limit)
    return error::msgsize;
  auto* p = static_cast<piece*>(mem::allocate(sizeof(piece) + bytes));
  if (!p)
    return error::nobufs;
  const mem::io_buffers before = m.data;
  auto copied = m.data.get(p->data(), bytes);
  mem::ref<unix_socket> to;
  sched::lock_guard guard(unix_lock);
  error failed = copied.code();
  if (copied.ok()) {
    auto found = receiver_for(m);
    failed = found.code();
    if (found.ok()) {
      to = found.take();
      if (to->read_shut_)
        failed = error::pipe;
      else if (to->queued_ >= queue_limit)
        failed = error::again;
    }
  }
  if (failed != error::none) {
    m.data = before;
    mem::release(p);
    return failed;
  }
  p->begin = 0;
  p->end = static_cast<uint32_t>(*copied);
  if (!is_stream())
    p->from = name_;
  to->append(p);
  if (to.get() == peer_.get())
    refresh();
  return *copied;
}

result<size_t> unix_socket::send(message& m) {
  if (m.flags & MSG_OOB)
    return error::opnotsupp;
  const uint64_t deadline = send_deadline();
  size_t done = 0;
  for (;;) {
    auto sent = send_once(m);
    if (sent.ok()) {
      done += *sent;
      if (m.data.remaining() == 0 || keeps_boundaries())
        return done;
      continue;
    }
    if (sent.code() == error::pipe && done == 0)
      return broken_pipe(m.flags);
    if (sent.code() != error::again || nonblocking(m.flags))
      return done ? result<size_t>(done) : result<size_t>(sent.code());
    // Room appears at the receiver; a connected one tells us, for others look again now and then.
    const uint64_t until =
        min_of(deadline, m.address && !is_stream() ? time::monotonic_ns() + time::ns_per_ms
                                                   : time::no_deadline);
    auto waited = sched::wait_until(
        readiness(), [this] { return (poll_events() & (EPOLLOUT | EPOLLHUP)) != 0; }, until);
    if (!waited.ok() && (waited.code() != error::timedout || until == deadline))
      return done ? result<size_t>(done) : result<size_t>(wait_error(waited.code()));
  }
}

// Lock held, something is queued.
result<size_t> unix_socket::take(message& m) {
  const bool peek = m.flags & MSG_PEEK;
  size_t done = 0;
  piece* p = first_;
  while (p) {
    const size_t length = p->end - p->begin;
    auto put = m.data.put(p->data() + p->begin, min_of(length, m.data.remaining()));
    if (!put.ok())
      return done ? result<size_t>(done) : result<size_t>(put.code());
    done += *put;
    piece* next = p->next;
    if (keeps_boundaries()) {
      if (m.address)
        name_to(p->from, *m.address);
      if (*put < length)
        m.out_flags |= MSG_TRUNC;
      if (m.flags & MSG_TRUNC)
        done = length;
    }
    if (!peek && (keeps_boundaries() || *put == length)) {
      queued_ -= static_cast<uint32_t>(length) + (keeps_boundaries() ? uint32_t{sizeof(piece)} : 0);
      first_ = next;
      if (!first_)
        last_ = nullptr;
      mem::release(p);
    } else if (!peek) {
      p->begin += static_cast<uint32_t>(*put);
      queued_ -= static_cast<uint32_t>(*put);
    }
    if (keeps_boundaries() || m.data.remaining() == 0)
      break;
    p = next;
  }
  if (!peek) {
    refresh();
    if (peer_)
      peer_->refresh();
  }
  return done;
}

result<size_t> unix_socket::receive(message& m) {
  if (m.flags & MSG_OOB)
    return error::opnotsupp;
  const uint64_t deadline = receive_deadline();
  size_t done = 0;
  for (;;) {
    {
      sched::lock_guard guard(unix_lock);
      if (first_) {
        auto taken = take(m);
        if (!taken.ok())
          return done ? result<size_t>(done) : result<size_t>(taken.code());
        done += *taken;
      }
      const bool all = (m.flags & MSG_WAITALL) && !keeps_boundaries() && !(m.flags & MSG_PEEK);
      if ((done && !all) || m.data.remaining() == 0)
        return done;
      if (is_stream() && !was_connected_)
        return error::inval;
      if (read_shut_ || (is_stream() && !peer_))
        return done;
    }
    if (nonblocking(m.flags))
      return done ? result<size_t>(done) : result<size_t>(error::again);
    auto waited = sched::wait_until(
        readiness(), [this] { return (poll_events() & (EPOLLIN | EPOLLHUP)) != 0; }, deadline);
    if (!waited.ok())
      return done ? result<size_t>(done) : result<size_t>(wait_error(waited.code()));
  }
}

result<void> unix_socket::get_option(int level, int name, void* value, socklen_t& length) {
  if (level == SOL_SOCKET && name == SO_PEERCRED) {
    const struct { int pid, uid, gid; } self = {1, 0, 0}; // the only process there is
    return give_option(value, length, &self, sizeof self);
  }
  return socket::get_option(level, name, value, length);
}

result<long> unix_socket::control(unsigned long request, void* app_argument) {
  if (request != FIONREAD)
    return error::notty;
  int bytes = 0;
  {
    sched::lock_guard guard(unix_lock);
    for (piece* p = first_; p && (bytes == 0 || !keeps_boundaries()); p = p->next)
      bytes += static_cast<int>(p->end - p->begin);
  }
  TRY(mem::write_app(static_cast<int*>(app_argument), bytes));
  return 0;
}

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
    sched::lock_guard guard(unix_lock);
    a->pair_with(*b);
  }
  out[0] = std::move(a);
  out[1] = std::move(b);
  return {};
}

} // namespace oblako::net
