// What lwIP reports about a connection, and what a socket's poll bits make of it.
#include "core/net/tcp_socket.hh"

#include "core/mem/buffer_account.hh"
#include "core/net/poller.hh"
#include "core/net/port.hh"
#include "core/net/stack.hh"
#include "lwip/priv/tcp_priv.h"
#include <sys/epoll.h>

namespace oblako::net {
namespace {

constexpr uint32_t input = EPOLLIN | EPOLLRDNORM;
constexpr uint32_t output = EPOLLOUT | EPOLLWRNORM;

} // namespace

void tcp_socket::adopt(tcp_pcb* connection) {
  pcb_ = connection;
  tcp_arg(pcb_, this);
  tcp_recv(pcb_, on_receive);
  tcp_sent(pcb_, on_sent);
  tcp_err(pcb_, on_error);
}

uint32_t tcp_socket::current_events() const {
  uint32_t bits = pending_ != error::none ? uint32_t{EPOLLERR} : 0;
  switch (phase_) {
  case phase::fresh:
  case phase::bound:
    return bits | output | EPOLLHUP;
  case phase::listening:
    return bits | (listener().queues.queues[backlog_accepted].first ? input : 0);
  case phase::connecting:
    return bits;
  case phase::connected:
  case phase::finished:
    break;
  }
  const bool no_more = phase_ == phase::finished;
  const bool input_ended = peer_closed_ || read_shut_ || no_more;
  if (has_enough() || input_ended)
    bits |= input;
  if (input_ended)
    bits |= EPOLLRDHUP;
  if (!full_ || write_shut_ || no_more)
    bits |= output;
  if (no_more || (input_ended && write_shut_))
    bits |= EPOLLHUP;
  return bits;
}

void tcp_socket::refresh(uint32_t again) {
  const uint32_t now = current_events();
  const uint32_t before = events_;
  if (now != before)
    __atomic_store_n(&events_, now, __ATOMIC_RELEASE); // pairs with poll_events()
  if (const uint32_t news = (now & ~before) | (now & again))
    readiness().wake_all(news);
}

bool tcp_socket::poll_sources() {
  return poll();
}

error tcp_socket::take_error() {
  const error e = pending_;
  if (e != error::none) {
    pending_ = error::none;
    refresh();
  }
  return e;
}

err_t tcp_socket::on_accept(void* self, tcp_pcb* connection, err_t e) {
  auto* listener = static_cast<tcp_socket*>(self);
  if (e != ERR_OK || !connection)
    return ERR_VAL;
  auto made = make_accepted(*listener);
  if (!made.ok())
    return ERR_MEM;                       // lwIP resets the connection
  tcp_socket* child = made.take().leak(); // the reference is the queue's
  child->adopt(connection);
  child->apply_options();
  child->local_ = {connection->local_ip, connection->local_port};
  child->remote_ = {connection->remote_ip, connection->remote_port};
  tcp_backlog_delayed(connection); // counts until accept() takes it
  listener->enqueue_accepted(*child);
  return ERR_OK;
}

err_t tcp_socket::on_connected(void* self, tcp_pcb* connection, err_t) {
  auto* s = static_cast<tcp_socket*>(self);
  leave_queue(*s);
  s->phase_ = phase::connected;
  s->local_ = {connection->local_ip, connection->local_port};
  s->refresh();
  return ERR_OK;
}

err_t tcp_socket::on_receive(void* self, tcp_pcb*, pbuf* data, err_t) {
  auto* s = static_cast<tcp_socket*>(self);
  if (!data) {
    s->peer_closed_ = true;
    if (s->write_shut_)
      s->let_go();
    s->refresh(input);
    return ERR_OK;
  }
  s->data_arrived(data);
  return ERR_OK;
}

// The window may have shrunk to less than it was.
uint32_t tcp_socket::most_to_wait_for() const {
  const uint32_t window = pcb_ ? min_of(pcb_->rcv_wnd_max, TCP_WND) : TCP_WND;
  const auto share = static_cast<uint32_t>(mem::buffers.share(least_share));
  return min_of(settings_.low_water, min_of(window, share) / 2);
}

void tcp_socket::low_water_may_be_reached() {
  refresh(input);
  if (!has_enough())
    readiness().wake_all(0); // a reader of fewer bytes may wait
}

err_t tcp_socket::on_sent(void* self, tcp_pcb* connection, u16_t) {
  static_cast<tcp_socket*>(self)->sent_arrived(*connection);
  return ERR_OK;
}

// The control block is gone already.
void tcp_socket::on_error(void* self, err_t e) {
  auto* s = static_cast<tcp_socket*>(self);
  s->pcb_ = nullptr;
  backlog* b = s->at;
  leave_queue(*s);
  if (b && s->queue == backlog_accepted) {
    // Nobody has seen this connection yet, and now nobody will. lwIP takes it out of the count.
    tcp_pcb_listen& l = listener_of(*b);
    note_room(l);
    static_cast<tcp_socket*>(l.callback_arg)->refresh();
    auto forgotten = mem::ref<tcp_socket>::adopt(s);
    s->free_received();
    return;
  }
  if (e == ERR_CLSD) // both sides closed in order
    s->peer_closed_ = true;
  else if (e != ERR_RST)
    s->pending_ = s->soft_error_ ? error{s->soft_error_} : error::timedout;
  else
    s->pending_ = s->phase_ == phase::connecting ? error::connrefused : s->reset_error();
  if (e != ERR_CLSD)
    s->write_shut_ = true;
  s->phase_ = phase::finished;
  s->refresh(EPOLLERR | EPOLLHUP);
}

} // namespace oblako::net
