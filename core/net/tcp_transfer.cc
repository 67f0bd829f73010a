// Moving data: from the application into segments, and from received packets to the application.
//
// A small write goes straight into a segment of its own if nothing waits before it, or else over
// the stack into lwIP's last unsent segment. A larger one is copied once into a send_buffer that
// the segments refer to.
#include "core/boot/timeline.hh"
#include "core/net/tcp_socket.hh"

#include "core/mem/buffer_account.hh"
#include "core/net/poller.hh"
#include "core/net/pools.hh"
#include "core/net/port.hh"
#include "core/net/send_buffer.hh"
#include "core/net/stack.hh"
#include "core/net/tcp_predict.hh"
#include "core/net/tcp_segment.hh"
#include "core/net/timers.hh"
#include "lwip/priv/tcp_priv.h"
#include <sys/epoll.h>

namespace oblako::net {
namespace {

constexpr size_t small_write = TCP_MSS;

// A buffer for each segment makes the fewest pieces.
size_t whole_piece(const tcp_pcb& c) {
  const size_t limit = tcp_segment_limit(&c);
  return limit > c.mss ? limit : 64_KiB;
}

// The same, if the last segment that waits is filled up first.
size_t first_piece(const tcp_pcb& c) {
  const tcp_seg* last = c.unsent;
  while (last && last->next)
    last = last->next;
  const size_t whole = whole_piece(c);
  return last && last->len < whole ? whole - last->len : whole;
}

// MSG_TRUNC on a stream: as if read, but nothing is copied (tcp(7)).
result<size_t> discard(mem::io_buffers& to, size_t bytes) {
  to.skip(bytes);
  return bytes;
}

} // namespace

// --- receiving

result<size_t> tcp_socket::receive(message& m) {
  if (m.flags & MSG_OOB)
    return error::inval;
  const bool peek = m.flags & MSG_PEEK;
  const bool wait_for_all = (m.flags & MSG_WAITALL) && !peek;
  uint64_t deadline = 0; // set with the first wait
  // Linux returns with less than SO_RCVLOWAT only at the end or when told not to wait.
  const size_t enough = wait_for_all ? ~size_t{0} : settings_.low_water;
  size_t done = 0;
  for (;;) {
    {
      stack_guard guard;
      if (phase_ == phase::fresh || phase_ == phase::bound || phase_ == phase::listening)
        return error::notconn;
      auto taken = take_received(m.data, m.flags);
      if (!taken.ok())
        return done ? result<size_t>(done) : result<size_t>(taken.code());
      done += *taken;
      if (m.data.remaining() == 0 || (done && (done >= enough || peek)))
        return done;
      if (done == 0 && pending_ != error::none && !peer_closed_)
        return take_error();
      if (peer_closed_ || read_shut_ || phase_ == phase::finished)
        return done;
    }
    if (nonblocking(m.flags))
      return done ? result<size_t>(done) : result<size_t>(error::again);
    if (deadline == 0)
      deadline = receive_deadline();
    constexpr uint32_t wanted = EPOLLIN | EPOLLERR | EPOLLHUP;
    auto waited = wait_until(
        [this] {
          return (poll_events() & wanted) != 0 || __atomic_load_n(&received_, __ATOMIC_RELAXED);
        },
        deadline);
    if (!waited.ok())
      return done ? result<size_t>(done) : result<size_t>(wait_error(waited.code()));
  }
}

inline void tcp_socket::consumed(size_t bytes) {
  received_bytes_ -= static_cast<uint32_t>(bytes);
  if (!received_) {
    received_last_ = nullptr;
    input_taken();
  }
  if (!pcb_ || peer_closed_) {
    if (connection_)
      room_made();
    return;
  }
  drained_ += static_cast<uint32_t>(bytes);
  if (drained_ >= pcb_->rcv_wnd_max)
    consider_window();
  if (mem::buffers.is_short()) [[unlikely]]
    bytes = give_back_less(bytes);
  take_back(*pcb_, static_cast<tcpwnd_size_t>(bytes));
}

// Memory is short: of what has been read, only as much becomes window again as leaves the window
// this connection's share. What has been announced stays announced (RFC 9293, 3.8.6).
size_t tcp_socket::give_back_less(size_t bytes) {
  const size_t window = TCP_WND_MAX(pcb_), share = mem::buffers.share(least_share);
  if (window <= share)
    return bytes;
  const size_t withheld = min_of(bytes, window - share);
  pcb_->rcv_wnd_max = static_cast<tcpwnd_size_t>(window - withheld);
  return bytes - withheld;
}

bool tcp_socket::may_take(size_t bytes) const {
  const size_t held = received_bytes_ + bytes;
  return held <= least_share || held <= mem::buffers.share(least_share);
}

bool tcp_socket::merge_behind(pbuf& last, pbuf* data) {
  if (data->next || (last.flags & PBUF_FLAG_IS_CUSTOM) || tail_room(last) < data->len)
    return false;
  __builtin_memcpy(static_cast<uint8_t*>(last.payload) + last.len, data->payload, data->len);
  last.len = last.tot_len = static_cast<u16_t>(last.len + data->len);
  octets_arrived(data->len);
  free_packet(data);
  return true;
}

// What is there, all of it in one piece, is read whole; the rest is receive()'s.
result<size_t> tcp_socket::read(mem::io_buffers& to) {
  {
    stack_guard guard;
    pbuf* p = received_;
    if (p && !p->next && p->len <= to.remaining() && settings_.low_water <= 1) [[likely]] {
      auto moved = to.put(p->payload, p->len);
      if (!moved.ok()) [[unlikely]]
        return moved;
      if (*moved == p->len) [[likely]] {
        received_ = nullptr;
        free_packet(p);
      } else {
        pbuf_remove_header(p, *moved);
      }
      consumed(*moved);
      return moved;
    }
  }
  return socket::read(to);
}

result<size_t> tcp_socket::take_received(mem::io_buffers& to, int flags) {
  const bool peek = flags & MSG_PEEK;
  size_t total = 0;
  pbuf* p = received_;
  while (p && to.remaining()) {
    const size_t wanted = min_of<size_t>(p->len, to.remaining());
    auto moved = flags & MSG_TRUNC ? discard(to, wanted) : to.put(p->payload, wanted);
    if (!moved.ok()) {
      if (total == 0)
        return moved;
      break;
    }
    total += *moved;
    pbuf* next = p->next;
    if (!peek && *moved == p->len) {
      p->next = nullptr;
      p->tot_len = p->len;
      pbuf_free(p);
      received_ = next;
    } else if (!peek) {
      pbuf_remove_header(p, *moved);
    }
    if (*moved < wanted)
      break;
    p = next;
  }
  if (!peek && total != 0)
    consumed(total);
  return total;
}

// A window's worth has been read. If that was done about as fast as it came, it may have been the
// window that held the peer back.
void tcp_socket::consider_window() {
  drained_ = 0;
  const auto share = static_cast<uint32_t>(mem::buffers.share(least_share));
  const uint32_t largest = min_of(min_of(tcp_buffers.largest, settings_.receive_buffer), share);
  if (pcb_->rcv_wnd_max < largest && received_bytes_ <= pcb_->rcv_wnd_max / 4)
    tcp_grow_wnd(pcb_, min_of(2 * pcb_->rcv_wnd_max, largest));
}

// --- sending

// True if all of it fits one segment that may go at once, if nothing holds it back.
inline bool tcp_socket::fits_now(size_t bytes, bool more) const {
  return !more && !cork_ && fits_segment(*pcb_, bytes) &&
         (send_used() + bytes <= least_share || bytes <= send_space());
}

result<size_t> tcp_socket::write(mem::io_buffers& from) {
  boot::reached_answer();
  {
    stack_guard guard;
    auto sent = send_at_once(from);
    if (sent.code() != error::again) [[likely]]
      return sent;
  }
  return socket::write(from);
}

// The usual case: all of it in one segment, at once. Errors: again (the long way, nothing has
// happened), fault, nobufs.
inline result<size_t> tcp_socket::send_at_once(mem::io_buffers& from) {
  const size_t bytes = from.remaining();
  if (bytes == 0 || phase_ != phase::connected || pending_ != error::none || write_shut_)
    return error::again;
  if (!pcb_) [[unlikely]]
    return connection_ ? hand_over_whole(from) : result<size_t>(error::again);
  if (!fits_now(bytes, false))
    return error::again;
  freshen_tcp_clock();
  if (!pcb_->unacked)
    progress_ = tcp_ticks;
  return send_predicted(*pcb_, from, bytes);
}

result<size_t> tcp_socket::send(message& m) {
  boot::reached_answer();
  if (m.flags & MSG_OOB)
    return error::opnotsupp;
  uint64_t deadline = 0; // set with the first wait
  size_t done = 0;
  for (;;) {
    error failed = error::none;
    {
      stack_guard guard;
      auto ready = can_send();
      if (ready.ok()) {
        auto queued = queue_some(m.data, m.flags & MSG_MORE);
        if (queued.ok())
          done += *queued;
        else
          failed = queued.code();
        if (m.data.remaining() == 0 && queued.ok())
          return done;
      } else {
        failed = ready.code();
      }
    }
    if (failed == error::pipe && done == 0)
      return broken_pipe(m.flags);
    if (failed != error::none && failed != error::again)
      return done ? result<size_t>(done) : result<size_t>(failed);
    if (nonblocking(m.flags))
      return done ? result<size_t>(done) : result<size_t>(error::again);
    if (deadline == 0)
      deadline = send_deadline();
    constexpr uint32_t wanted = EPOLLOUT | EPOLLERR | EPOLLHUP;
    auto waited = wait_until([this] { return (poll_events() & wanted) != 0; }, deadline);
    if (!waited.ok())
      return done ? result<size_t>(done) : result<size_t>(wait_error(waited.code()));
  }
}

// Errors: again while connecting, pipe, the pending error.
result<void> tcp_socket::can_send() {
  if (pending_ != error::none)
    return take_error();
  if (phase_ == phase::connecting)
    return error::again;
  if (phase_ != phase::connected || write_shut_ || !(pcb_ || connection_))
    return error::pipe;
  return {};
}

size_t tcp_socket::send_limit() const {
  return min_of<size_t>(settings_.send_buffer, TCP_SND_BUF);
}

size_t tcp_socket::send_space() const {
  return space_left(send_used(), send_limit());
}

size_t tcp_socket::space_left(size_t used, size_t limit) {
  limit = min_of(limit, mem::buffers.share(least_share));
  return used < limit ? limit - used : 0;
}

// Queues what fits. Errors: fault, nobufs (nothing queued).
result<size_t> tcp_socket::queue_some(mem::io_buffers& from, bool more) {
  if (from.remaining() == 0) // a segment of nothing would never be acknowledged
    return size_t{0};
  if (connection_)
    return hand_over(from);
  freshen_tcp_clock();
  if (fits_now(from.remaining(), more)) {
    if (auto sent = send_at_once(from); sent.code() != error::again)
      return sent;
    if (!pcb_->unacked)
      progress_ = tcp_ticks;
    auto queued = queue_segment(*pcb_, from, from.remaining());
    if (queued.ok())
      tcp_output(pcb_);
    return queued;
  }
  if (!pcb_->unsent && !pcb_->unacked)
    progress_ = tcp_ticks;
  size_t done = 0;
  error failed = error::none;
  size_t piece = from.remaining() > small_write ? first_piece(*pcb_) : small_write;
  for (; from.remaining() != 0; piece = whole_piece(*pcb_)) {
    const size_t space = send_space();
    if (space == 0)
      break;
    const size_t bytes = min_of(min_of(space, piece), from.remaining());
    auto queued = bytes <= small_write ? queue_small(from, bytes, more || bytes < from.remaining())
                                       : queue_large(from, bytes, more);
    if (!queued.ok()) {
      failed = queued.code();
      break;
    }
    done += *queued;
  }
  if (from.remaining() != 0) {
    full_ = true;
    refresh();
  }
  if (done != 0) {
    corked_bytes_ += static_cast<uint32_t>(done);
    push(more);
  }
  return done == 0 && failed != error::none ? result<size_t>(failed) : result<size_t>(done);
}

result<size_t> tcp_socket::queue_small(mem::io_buffers& from, size_t bytes, bool more) {
  uint8_t staging[small_write];
  const mem::io_buffers before = from;
  const size_t got = TRY(from.get(staging, bytes));
  const u8_t flags = TCP_WRITE_FLAG_COPY | (more ? TCP_WRITE_FLAG_MORE : 0);
  if (tcp_write(pcb_, staging, static_cast<u16_t>(got), flags) == ERR_OK)
    return got;
  from = before;
  return error::nobufs;
}

result<size_t> tcp_socket::queue_large(mem::io_buffers& from, size_t bytes, bool more) {
  auto made = send_buffer::make(bytes);
  if (!made.ok())
    return error::nobufs;
  send_buffer* buffer = *made;
  const mem::io_buffers before = from;
  auto got = from.get(buffer->data(), min_of(bytes, buffer->capacity()));
  if (!got.ok()) {
    buffer->drop_reference();
    return got;
  }
  const bool last = from.remaining() == 0 && !more;
  const bool queued = buffer->queue(pcb_, static_cast<u16_t>(*got), last ? 0 : TCP_WRITE_FLAG_MORE);
  buffer->drop_reference(); // the segments have theirs
  if (queued)
    return got;
  from = before;
  return error::nobufs;
}

// Sends what may be sent. With MSG_MORE or TCP_CORK only whole segments go out; the rest waits for
// more, but not for ever (held_back()).
void tcp_socket::push(bool more) {
  if ((more || cork_) && corked_bytes_ < pcb_->mss) {
    if (!held_back_) {
      held_back_ = true;
      held_since_ = tcp_ticks;
      note_tcp_activity(*pcb_);
    }
    return;
  }
  corked_bytes_ = 0;
  held_back_ = false;
  tcp_output(pcb_);
}

} // namespace oblako::net
