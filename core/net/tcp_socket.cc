// Opening and closing: names, connecting, listening, accepting, shutting down.
#include "core/net/tcp_socket.hh"
#include "core/boot/timeline.hh"

#include "core/net/poller.hh"
#include "core/net/port.hh"
#include "core/net/stack.hh"
#include "core/net/tcp_handshake.hh"
#include "core/net/tcp_lookup.hh"
#include "core/net/tcp_ports.hh"
#include "core/net/tcp_watch.hh"
#include "core/net/timers.hh"
#include "lwip/priv/tcp_priv.h"
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/epoll.h>

namespace oblako::net {
namespace {

constexpr int max_backlog = 4096;

// The connection is accepted: it counts in its listener's backlog no longer, and outlives it.
void forget_listener(tcp_pcb& c) {
  tcp_backlog_accepted(&c);
  c.listener = nullptr;
}

} // namespace

result<mem::ref<tcp_socket>> tcp_socket::make(int domain, uint32_t status_flags) {
  auto s = TRY(mem::make_shared<tcp_socket>(domain, status_flags));
  stack_guard guard;
  TRY(s->ensure_block());
  s->events_ = s->current_events();
  return s;
}

tcp_socket::tcp_socket(int domain, uint32_t status_flags)
    : socket(domain, SOCK_STREAM, IPPROTO_TCP, status_flags), backlog_place{} {
  settings_.send_buffer = tcp_buffers.largest;
  settings_.receive_buffer = tcp_buffers.largest;
}

// A socket that was never given a descriptor, or the last reference after closed().
tcp_socket::~tcp_socket() {
  if (!pcb_ && !connection_ && !received_)
    return;
  if (stack_lock.held_by_me()) {
    close_block();
  } else {
    stack_guard guard;
    close_block();
  }
}

result<void> tcp_socket::ensure_block() {
  if (pcb_)
    return {};
  tcp_pcb* block = tcp_new_ip_type(domain() == AF_INET6 ? IPADDR_TYPE_ANY : IPADDR_TYPE_V4);
  if (!block)
    return error::nobufs;
  adopt(block);
  phase_ = phase::fresh;
  local_ = remote_ = {};
  if (domain() == AF_INET6)
    IP_SET_TYPE_VAL(local_.ip, IPADDR_TYPE_V6);
  return {};
}

// --- names

bool tcp_socket::port_used(uint16_t port, const void* towards) {
  const auto* remote = static_cast<const endpoint*>(towards);
  return remote ? port_taken_towards(port, remote->ip, remote->port) : users_of(port) != nullptr;
}

// True if another socket has this address or part of it, and would compete. As on Linux,
// SO_REUSEPORT on both lets them share it; so does SO_REUSEADDR, unless one listens.
bool tcp_socket::address_taken(const tcp_pcb* self, const ip_addr_t& ip, uint16_t port,
                               const settings& wanted, bool listens) {
  const port_users* users = users_of(port);
  const auto competes = [&](const auto& c) {
    if (!addresses_overlap(c.local_ip, ip))
      return false;
    const auto* owner = static_cast<const tcp_socket*>(c.callback_arg); // null if it is closed
    return !(wanted.reuse_port && owner && owner->settings_.reuse_port);
  };
  for (const tcp_pcb_listen* l = users ? users->listeners : nullptr; l; l = l->port_next)
    if (competes(*l))
      return true;
  if (listens)
    return false; // the others were settled when it was bound
  const bool reuse = wanted.reuse_address || wanted.reuse_port;
  for (const tcp_pcb* c = users ? users->blocks : nullptr; c; c = c->port_next)
    if (c != self && !(reuse && (c->so_options & SOF_REUSEADDR)) && competes(*c))
      return true;
  for (const local_end* e = users ? users->joined : nullptr; e; e = e->port_next) {
    const auto& had = e->socket->settings_;
    if (addresses_overlap(e->socket->local_.ip, ip) && !(wanted.reuse_port && had.reuse_port) &&
        !(reuse && (had.reuse_address || had.reuse_port)))
      return true;
  }
  return false;
}

result<void> tcp_socket::bind(const socket_address& local) {
  const endpoint e = TRY(endpoint_from(local, domain()));
  stack_guard guard;
  if (phase_ != phase::fresh)
    return error::inval;
  TRY(ensure_block());
  if (!net::is_local(e.ip) && !is_own_address(e.ip))
    return error::addrnotavail;
  TRY(bind_to(e));
  phase_ = phase::bound;
  return {};
}

result<void> tcp_socket::bind_to(const endpoint& local, const endpoint* towards) {
  const ip_addr_t ip =
      binding_address(local, domain(), only_ipv6_ ? only_ipv6::yes : only_ipv6::no);
  uint16_t port = local.port;
  if (port == 0)
    port = pick_port(port_used, towards);
  else if (address_taken(pcb_, ip, port, settings_, false))
    return error::addrinuse;
  if (port == 0)
    return towards ? error::addrnotavail : error::addrinuse;
  // lwIP's own check is coarser than the one above: keep it out of the way.
  ip_set_option(pcb_, SOF_REUSEADDR);
  const err_t e = tcp_bind(pcb_, &ip, port);
  apply_options();
  if (e != ERR_OK)
    return error_of(e);
  local_ = local;
  local_.port = port;
  return {};
}

result<void> tcp_socket::local_name(socket_address& out) {
  stack_guard guard;
  endpoint_to(local_, domain(), out);
  return {};
}

result<void> tcp_socket::peer_name(socket_address& out) {
  stack_guard guard;
  if (phase_ != phase::connected)
    return error::notconn;
  endpoint_to(remote_, domain(), out);
  return {};
}

// --- connecting

// connect() with AF_UNSPEC, as on Linux: the connection ends by a reset, a listener listens no
// longer, and the socket is as new, its address given up too.
void tcp_socket::disconnect() {
  if (phase_ == phase::fresh || phase_ == phase::bound)
    return;
  if (phase_ == phase::listening) {
    stop_listening();
  } else if (connection_) {
    close_connection(true);
  } else if (pcb_) {
    freshen_tcp_clock();
    tcp_pcb* block = pcb_;
    let_go();
    tcp_abort(block);
  }
  free_received();
  peer_closed_ = read_shut_ = write_shut_ = full_ = unreported_ = held_back_ = false;
  drained_ = corked_bytes_ = 0;
  pending_ = error::none;
  local_ = remote_ = {};
  phase_ = phase::fresh;
  refresh(EPOLLHUP);
}

result<void> tcp_socket::connect(const socket_address& remote) {
  if (remote.length >= sizeof(sa_family_t) && remote.base.sa_family == AF_UNSPEC) {
    stack_guard guard;
    disconnect();
    return {};
  }
  const endpoint e = TRY(endpoint_from(remote, domain()));
  {
    stack_guard guard;
    const bool begun = phase_ == phase::connecting || phase_ == phase::connected;
    TRY(connecting_or_error(e));
    // Also if it is connected already: the application may count on it, as it can on Linux.
    if (!begun && nonblocking(0))
      return error::inprogress;
  }
  auto waited = net::wait_until(
      readiness(), [this] { return poll_events() != 0; }, send_deadline());
  if (!waited.ok())
    return waited.code() == error::timedout ? error::inprogress : waited.code();
  stack_guard guard;
  const error failed = take_error();
  if (failed != error::none)
    return failed;
  unreported_ = false;
  return phase_ == phase::connected ? result<void>() : result<void>(error::connaborted);
}

result<void> tcp_socket::connecting_or_error(const endpoint& remote) {
  switch (phase_) {
  case phase::connecting:
    return nonblocking(0) ? result<void>(error::already) : result<void>();
  case phase::connected:
    return unreported_ ? result<void>() : result<void>(error::isconn);
  case phase::listening:
    return error::isconn;
  case phase::finished:
    if (pending_ != error::none)
      return take_error();
    peer_closed_ = read_shut_ = write_shut_ = false;
    [[fallthrough]];
  case phase::fresh:
  case phase::bound:
    return start_connecting(remote);
  }
  return error::inval;
}

result<void> tcp_socket::start_connecting(endpoint remote) {
  if (remote.port == 0)
    return error::connrefused;
  any_to_loopback(remote.ip);
  if (only_ipv6_ && IP_IS_V4_VAL(remote.ip))
    return error::netunreach;
  if (ip_addr_ismulticast(&remote.ip))
    return error::netunreach;
  unreported_ = true;
  const bool own = is_own_address(remote.ip);
  if (own) {
    const auto joined = connect_locally(remote);
    if (joined.code() != error::again)
      return joined;
  }
  TRY(ensure_block());
  if (phase_ != phase::bound) {
    endpoint any;
    if (IP_IS_V6_VAL(remote.ip))
      IP_SET_TYPE_VAL(any.ip, IPADDR_TYPE_V6);
    TRY(bind_to(any, &remote));
  }
  freshen_tcp_clock();
  progress_ = tcp_ticks;
  ip_set_option(pcb_, SOF_REUSEADDR); // lwIP then makes sure that the connection is unique
  const err_t e = tcp_connect(pcb_, &remote.ip, remote.port, on_connected);
  apply_options();
  if (e != ERR_OK) {
    if (phase_ != phase::bound) {
      tcp_pcb* block = pcb_;
      let_go();
      tcp_abort(block);
      phase_ = phase::fresh;
    }
    return e == ERR_USE ? error::addrnotavail : error_of(e);
  }
  phase_ = phase::connecting;
  local_ = {pcb_->local_ip, pcb_->local_port};
  remote_ = remote;
  refresh();
  return {};
}

// --- listening

result<void> tcp_socket::listen(int backlog) {
  const int wanted = backlog < 0 ? max_backlog : min_of(backlog, max_backlog);
  stack_guard guard;
  const auto limit = static_cast<u16_t>(wanted + 1); // Linux lets one more in
  if (phase_ == phase::listening) {
    tcp_backlog_set(pcb_, limit);
    note_room(listener());
    let_in_waiting();
    return {};
  }
  if (phase_ != phase::fresh && phase_ != phase::bound)
    return error::inval;
  TRY(ensure_block());
  if (phase_ == phase::fresh) {
    endpoint any;
    if (domain() == AF_INET6)
      IP_SET_TYPE_VAL(any.ip, IPADDR_TYPE_V6);
    TRY(bind_to(any));
    phase_ = phase::bound;
  }
  apply_options();
  // Two bound sockets may share an address until one of them listens. lwIP's own check knows
  // nothing of SO_REUSEPORT: keep it out of the way.
  if (address_taken(pcb_, pcb_->local_ip, pcb_->local_port, settings_, true))
    return error::addrinuse;
  ip_reset_option(pcb_, SOF_REUSEADDR);
  err_t e;
  tcp_pcb* listening = tcp_listen_with_backlog_and_err(pcb_, limit, &e);
  if (!listening)
    return error_of(e);
  pcb_ = listening;
  if (settings_.reuse_address || settings_.reuse_port)
    ip_set_option(pcb_, SOF_REUSEADDR);
  phase_ = phase::listening;
  tcp_arg(pcb_, this);
  tcp_accept(pcb_, on_accept);
  boot::reached_listen();
  refresh();
  return {};
}

result<mem::ref<socket>> tcp_socket::accept(socket_address& peer, uint32_t flags) {
  const uint64_t deadline = receive_deadline();
  for (;;) {
    {
      stack_guard guard;
      if (phase_ != phase::listening)
        return error::inval;
      if (auto child = take_accepted()) {
        let_in_waiting();
        child->set_flags(flags);
        endpoint_to(child->remote_, child->domain(), peer);
        return mem::ref<socket>(std::move(child));
      }
    }
    if (nonblocking(0))
      return error::again;
    auto waited = net::wait_until(
        readiness(), [this] { return poll_events() != 0; }, deadline);
    if (!waited.ok())
      return wait_error(waited.code());
  }
}

// The socket of a new connection, with what it inherits. Errors: nomem.
result<mem::ref<tcp_socket>> tcp_socket::make_accepted(const tcp_socket& listener) {
  auto made = TRY(mem::make_shared<tcp_socket>(listener.domain(), 0u));
  tcp_socket& child = *made;
  child.settings_ = listener.settings_;
  child.no_delay_ = listener.no_delay_;
  child.user_timeout_ms_ = listener.user_timeout_ms_;
  child.keep_idle_ = listener.keep_idle_;
  child.keep_interval_ = listener.keep_interval_;
  child.keep_count_ = listener.keep_count_;
  child.time_to_live_ = listener.time_to_live_;
  child.type_of_service_ = listener.type_of_service_;
  child.phase_ = phase::connected;
  return made;
}

// Behind those that wait for accept(). Takes a reference over.
void tcp_socket::enqueue_accepted(tcp_socket& connection) {
  connection.events_ = connection.current_events();
  enter_queue(listener().queues, backlog_accepted, connection);
  note_delivery();
  refresh(EPOLLIN | EPOLLRDNORM);
}

// The oldest finished connection, with its reference.
mem::ref<tcp_socket> tcp_socket::take_accepted() {
  backlog_place* first = listener().queues.queues[backlog_accepted].first;
  if (!first)
    return {};
  auto& child = static_cast<tcp_socket&>(*first);
  leave_queue(child);
  if (child.pcb_)
    forget_listener(*child.pcb_);
  else
    --listener().accepts_pending;
  note_room(listener());
  refresh();
  return mem::ref<tcp_socket>::adopt(&child);
}

// Connections nobody will accept any more are reset.
void tcp_socket::stop_listening() {
  while (auto child = take_accepted()) {
    child->settings_.linger = true;
    child->settings_.linger_seconds = 0;
    child->close_block();
  }
  tcp_pcb* block = pcb_;
  pcb_ = nullptr;
  tcp_close(block);
}

// --- closing

void tcp_socket::closed() {
  if (settings_.linger && settings_.linger_seconds > 0)
    linger();
  stack_guard guard;
  close_block();
}

// SO_LINGER with a time: close() waits until the peer has acknowledged everything, or the time is
// over; what is left then goes on in the background, as on Linux.
void tcp_socket::linger() {
  {
    stack_guard guard;
    if (phase_ != phase::connected || has_input())
      return;
    lingering_ = true;
    shut_write();
  }
  (void)net::wait_until(
      readiness(),
      [this] {
        stack_guard guard;
        return !pcb_ || (!pcb_->unsent && !pcb_->unacked);
      },
      time::monotonic_ns() + static_cast<uint64_t>(settings_.linger_seconds) * time::ns_per_s);
}

result<void> tcp_socket::shutdown(int how) {
  if (how < SHUT_RD || how > SHUT_RDWR)
    return error::inval;
  stack_guard guard;
  if (phase_ == phase::listening && how != SHUT_WR) {
    stop_listening();
    phase_ = phase::finished;
    read_shut_ = true;
    refresh();
    return {};
  }
  if (phase_ != phase::connected && phase_ != phase::finished)
    return error::notconn;
  if (phase_ == phase::finished && !pcb_ && !peer_closed_ && !write_shut_)
    return error::notconn;
  if (how != SHUT_WR)
    read_shut_ = true;
  if (how != SHUT_RD)
    shut_write();
  refresh();
  return {};
}

void tcp_socket::shut_write() {
  if (write_shut_)
    return;
  write_shut_ = true;
  if (connection_)
    end_stream();
  if (!pcb_)
    return;
  freshen_tcp_clock();
  tcp_shutdown(pcb_, 0, 1);
  if (peer_closed_)
    let_go();
}

void tcp_socket::let_go() {
  if (is_waiting(*this))
    leave_queue(*this);
  tcp_arg(pcb_, nullptr);
  tcp_recv(pcb_, nullptr);
  tcp_sent(pcb_, nullptr);
  tcp_err(pcb_, nullptr);
  watch_orphan(*pcb_);
  pcb_ = nullptr;
}

void tcp_socket::free_received() {
  const bool unread = received_ != nullptr;
  while (pbuf* p = received_) {
    received_ = p->next;
    p->next = nullptr;
    p->tot_len = p->len;
    pbuf_free(p);
  }
  received_last_ = nullptr;
  received_bytes_ = 0;
  if (unread)
    read_shut_ = true;
}

// The connection's end as far as this socket is concerned. With data unread, or a linger time of
// zero, the peer is told that something was lost; otherwise lwIP sends the rest in the background.
void tcp_socket::close_block() {
  const phase was = phase_;
  phase_ = phase::finished;
  const bool reset = has_input() || (settings_.linger && settings_.linger_seconds == 0);
  if (was == phase::listening && pcb_) {
    stop_listening();
  } else if (connection_) {
    close_connection(reset);
  } else if (pcb_) {
    const bool already_shut = write_shut_;
    freshen_tcp_clock();
    tcp_pcb* block = pcb_;
    let_go();
    if (was != phase::connected) {
      tcp_close(block); // nothing to tell anybody
    } else if (reset) {
      tcp_abort(block);
    } else {
      tcp_set_flags(block, TF_RXCLOSED);
      block->tmr = tcp_ticks;
      if (!already_shut)
        tcp_shutdown(block, 0, 1);
      else
        note_tcp_activity(*block); // the wait for the other side's end is limited now
    }
  }
  free_received();
  read_shut_ = write_shut_ = true;
  refresh();
}

} // namespace oblako::net
