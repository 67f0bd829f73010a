// Moving messages and bytes between local sockets: always straight into the receiver's queue.
#include "core/net/control_data.hh"
#include "core/net/unix_socket_internal.hh"

#include <sys/epoll.h>

namespace oblako::net {
namespace {

constexpr size_t largest_piece = 16_KiB;

// What the control messages of a send say. Errors: badf, inval, nomem, toomanyrefs.
result<void> read_control(const control_data& control, mem::unique<passed_files>& files,
                          unix_credentials& sender) {
  return control.for_each(
      [&](int level, int type, const uint8_t* data, size_t bytes) -> result<void> {
        if (level != SOL_SOCKET)
          return {};
        if (type == SCM_CREDENTIALS) {
          if (bytes != sizeof sender)
            return error::inval;
          memcpy(&sender, data, sizeof sender);
          return {};
        }
        if (type != SCM_RIGHTS)
          return error::inval;
        const size_t count = bytes / sizeof(int);
        if (!files && count != 0)
          files = TRY(mem::make<passed_files>());
        if (count != 0 && count + files->size() > passed_files::most)
          return error::inval;
        for (size_t i = 0; i < count; ++i) {
          int fd;
          memcpy(&fd, data + i * sizeof fd, sizeof fd);
          TRY(files->add(fd));
        }
        return count != 0 && unix_rights::too_many() ? result<void>(error::toomanyrefs)
                                                     : result<void>();
      });
}

bool same(const unix_credentials& a, const unix_credentials& b) {
  return a.pid == b.pid && a.uid == b.uid && a.gid == b.gid;
}

} // namespace

// What came along with the data of one receive().
struct unix_socket::attachments {
  mem::unique<passed_files> files;
  bool has_sender = false;
  unix_credentials sender = {};
};

unix_piece* make_piece(size_t bytes) {
  void* memory = mem::allocate_buffer(sizeof(unix_piece) + bytes);
  return memory ? ::new (memory) unix_piece : nullptr;
}

void free_piece(unix_piece* p) {
  p->~unix_piece();
  mem::release(p);
}

uint32_t unix_socket::cost_of(const unix_piece& p) {
  return p.end - p.begin + static_cast<uint32_t>(sizeof(unix_piece)) +
         (p.files ? static_cast<uint32_t>(sizeof(passed_files)) : 0);
}

void unix_socket::append(unix_piece* p) {
  p->next = nullptr;
  (last_ ? last_->next : first_) = p;
  last_ = p;
  queued_ += cost_of(*p);
  unix_rights::entered(*p);
  refresh(EPOLLIN | EPOLLRDNORM);
}

// Takes the first piece out, for drop_now(). Lock held.
void unix_socket::drop_first() {
  unix_piece* p = first_;
  unix_rights::left(*p);
  queued_ -= cost_of(*p);
  first_ = p->next;
  if (!first_)
    last_ = nullptr;
  p->next = nullptr;
  drop_later(p);
  refresh();
  if (peer_)
    peer_->refresh();
}

// Empties the queue; what was in it is the caller's. Lock held.
unix_piece* unix_socket::take_all_pieces() {
  for (unix_piece* p = first_; p; p = p->next)
    unix_rights::left(*p);
  queued_ = 0;
  last_ = nullptr;
  return std::exchange(first_, nullptr);
}

// --- sending

result<mem::ref<unix_socket>> unix_socket::receiver_for(const message& m, const unix_name& n,
                                                        const fs::node* node) {
  if (write_shut_)
    return error::pipe;
  if (!is_stream() && m.address) {
    unix_socket* target = find_unix_name(n, node);
    if (!target)
      return n.is_path() && !node ? error::noent : error::connrefused;
    return target->type() == type()
               ? result<mem::ref<unix_socket>>(mem::ref<unix_socket>::share(target))
               : result<mem::ref<unix_socket>>(error::prototype);
  }
  if (m.address && type() == SOCK_STREAM)
    return was_connected_ ? error::isconn : error::opnotsupp;
  if (!peer_)
    return was_connected_ ? (is_stream() ? error::pipe : error::connrefused) : error::notconn;
  if (peer_->finished_)
    return error::connrefused;
  return peer_;
}

// One piece into the receiver's queue. Errors: again (no room now), and those of receiver_for().
result<size_t> unix_socket::send_once(message& m, mem::unique<passed_files>& files,
                                      const unix_credentials& sender) {
  const size_t bytes =
      keeps_boundaries() ? m.data.remaining() : min_of(m.data.remaining(), largest_piece);
  if (bytes > unix_queue_limit)
    return error::msgsize;
  unix_name n;
  mem::ref<fs::node> node;
  if (m.address && !is_stream()) {
    n = TRY(unix_name_from(*m.address));
    node = TRY(unix_name_node(n));
  }
  unix_piece* p = make_piece(bytes);
  if (!p)
    return error::nobufs;
  const mem::io_buffers before = m.data;
  auto copied = m.data.get(p->data(), bytes);
  mem::ref<unix_socket> to;
  unix_guard guard(unix_lock);
  error failed = copied.code();
  if (copied.ok() && keeps_boundaries() && *copied != bytes) {
    failed = error::fault; // a message is sent whole or not at all
  } else if (copied.ok()) {
    auto found = receiver_for(m, n, node.get());
    failed = found.code();
    if (found.ok()) {
      to = found.take();
      if (to->read_shut_)
        failed = error::pipe;
      else if (!to->has_room())
        failed = error::again;
    }
  }
  if (failed != error::none) {
    m.data = before;
    free_piece(p);
    return failed;
  }
  p->begin = 0;
  p->end = static_cast<uint32_t>(*copied);
  p->sender = sender;
  p->files = std::move(files);
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
  mem::unique<passed_files> files;
  unix_credentials sender = own_credentials();
  if (m.control) {
    auto understood = read_control(*m.control, files, sender);
    if (files)
      drop_now(); // passing descriptors may have found some that nobody can receive
    TRY(std::move(understood));
  }
  const uint64_t deadline = send_deadline();
  size_t done = 0;
  while (keeps_boundaries() || m.data.remaining() != 0) {
    auto sent = send_once(m, files, sender);
    if (sent.ok()) {
      done += *sent;
      if (keeps_boundaries())
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
  return done;
}

// --- receiving

// Lock held, something is queued. Stops behind a piece that carries descriptors, and before one of
// another sender's if the receiver asks for senders.
result<size_t> unix_socket::take(message& m, attachments& found) {
  const bool peek = m.flags & MSG_PEEK;
  size_t done = 0;
  unix_piece* p = first_;
  while (p) {
    if (found.has_sender && settings_.pass_credentials && !same(found.sender, p->sender))
      break;
    const size_t length = p->end - p->begin;
    const size_t wanted = min_of(length, m.data.remaining());
    auto put = keeps_boundaries() ? m.data.put_whole(p->data() + p->begin, wanted)
                                  : m.data.put(p->data() + p->begin, wanted);
    if (!put.ok() && keeps_boundaries() && !peek)
      drop_first(); // as on Linux it is lost
    if (!put.ok())
      return done ? result<size_t>(done) : result<size_t>(put.code());
    done += *put;
    found.has_sender = true;
    found.sender = p->sender;
    const bool carries = static_cast<bool>(p->files);
    if (carries && peek) {
      auto copied = p->files->copy();
      if (copied.ok())
        found.files = copied.take();
    } else if (carries) {
      unix_rights::left(*p);
      queued_ -= static_cast<uint32_t>(sizeof(passed_files));
      found.files = std::move(p->files);
    }
    unix_piece* next = p->next;
    if (keeps_boundaries()) {
      if (m.address)
        unix_name_to(p->from, *m.address);
      if (*put < length)
        m.out_flags |= MSG_TRUNC;
      if (m.flags & MSG_TRUNC)
        done = length;
    }
    if (!peek && (keeps_boundaries() || *put == length)) {
      queued_ -= cost_of(*p);
      first_ = next;
      if (!first_)
        last_ = nullptr;
      free_piece(p); // without descriptors by now
    } else if (!peek) {
      p->begin += static_cast<uint32_t>(*put);
      queued_ -= static_cast<uint32_t>(*put);
    }
    if (keeps_boundaries() || m.data.remaining() == 0 || carries)
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

result<size_t> unix_socket::receive_data(message& m, attachments& found) {
  const uint64_t deadline = receive_deadline();
  size_t done = 0;
  for (;;) {
    {
      unix_guard guard(unix_lock);
      if (first_) {
        auto taken = take(m, found);
        if (!taken.ok())
          return done ? result<size_t>(done) : result<size_t>(taken.code());
        done += *taken;
        if (keeps_boundaries())
          return done;
      }
      const bool all = (m.flags & MSG_WAITALL) && !(m.flags & MSG_PEEK) && !found.files;
      if ((done && !all) || (!keeps_boundaries() && m.data.remaining() == 0))
        return done;
      if (is_stream() && !was_connected_)
        return type() == SOCK_SEQPACKET ? error::notconn : error::inval;
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

result<size_t> unix_socket::receive(message& m) {
  if (m.flags & MSG_OOB)
    return error::opnotsupp;
  attachments found;
  auto received = receive_data(m, found);
  if (!received.ok()) {
    drop_now(); // a message that did not reach the receiver's memory
    return received.code();
  }
  if (m.control && settings_.pass_credentials && found.has_sender)
    m.control->add(SOL_SOCKET, SCM_CREDENTIALS, &found.sender, sizeof found.sender);
  if (found.files && m.control)
    found.files->install(*m.control, m.flags & MSG_CMSG_CLOEXEC);
  else if (found.files)
    m.out_flags |= MSG_CTRUNC;
  return received;
}

} // namespace oblako::net
