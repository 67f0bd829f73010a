// The part of tcp_socket that joins two sockets of this machine, moves data between them and parts
// them again. local_connection.hh has the invariants.
#include "core/net/local_connection.hh"
#include "core/net/pools.hh"
#include "core/net/port.hh"
#include "core/net/tcp_lookup.hh"
#include "core/net/tcp_ports.hh"
#include "core/net/tcp_socket.hh"
#include "core/net/timers.hh"
#include "lwip/priv/tcp_priv.h"
#include <netinet/tcp.h>

namespace oblako::net {

local_connection* local_connections;

namespace {

constexpr uint32_t input = EPOLLIN | EPOLLRDNORM;
// Of one packet buffer with its header: what the heap gives in whole pages, and what the length
// of a packet buffer can say.
constexpr size_t largest_piece = 64_KiB - sizeof(pbuf);

void link(local_connection& c) {
  c.next = local_connections;
  c.link = &local_connections;
  if (c.next)
    c.next->link = &c.next;
  local_connections = &c;
}

void unlink_and_free(local_connection& c) {
  *c.link = c.next;
  if (c.next)
    c.next->link = c.link;
  mem::release_sized(&c, sizeof c);
}

// Both ends. False: no memory.
bool join_ports(local_connection& c, uint16_t first, uint16_t second) {
  if (!join_port(c.ends[0], first))
    return false;
  if (join_port(c.ends[1], second))
    return true;
  leave_port(c.ends[0], first);
  return false;
}

bool is_loopback(const ip_addr_t& a) {
  return IP_IS_V4_VAL(a) && ip4_addr_isloopback(ip_2_ip4(&a));
}

// The address a connection to `remote` comes from if its socket has none.
ip_addr_t source_for(const ip_addr_t& remote) {
  ip_addr_t source = remote;
  if (is_loopback(remote))
    ip_addr_set_loopback(0, &source);
  return source;
}

// A buffer for `bytes`, or for less if memory is fragmented. nullptr: there is none.
pbuf* make_piece(size_t bytes) {
  for (;; bytes /= 2) {
    pbuf* p = take_buffer(0, bytes);
    if (p || bytes <= TCP_MSS)
      return p;
  }
}

} // namespace

bool is_own_address(const ip_addr_t& a) {
  return is_loopback(a) || (!ip_addr_ismulticast(&a) && is_local(a));
}

// --- joining

// The connection has failed before it began; whoever waits learns it as from a reset.
void tcp_socket::refuse() {
  release_block();
  pending_ = error::connrefused;
  write_shut_ = true;
  phase_ = phase::finished;
  refresh(EPOLLERR | EPOLLHUP);
}

void tcp_socket::release_block() {
  if (!pcb_)
    return;
  tcp_pcb* block = pcb_;
  let_go();
  tcp_abandon(block, 0);
}

bool tcp_socket::connection_exists(const endpoint& local, const endpoint& remote) {
  if (oblako_tcp_find(&local.ip, local.port, &remote.ip, remote.port))
    return true;
  const port_users* users = users_of(local.port);
  for (const local_end* e = users ? users->joined : nullptr; e; e = e->port_next) {
    const tcp_socket& s = *e->socket;
    if (s.remote_.port == remote.port && ip_addr_cmp(&s.local_.ip, &local.ip) &&
        ip_addr_cmp(&s.remote_.ip, &remote.ip))
      return true;
  }
  return false;
}

// Errors: again (lwIP has to do it), addrnotavail, netunreach, nobufs. A refusal is no error here.
result<void> tcp_socket::connect_locally(const endpoint& remote) {
  const bool bound = phase_ == phase::bound;
  endpoint local;
  if (bound)
    local = local_;
  if (!bound || is_any(local.ip))
    local.ip = source_for(remote.ip);
  tcp_pcb_listen* l = find_listener(remote.ip, remote.port, local.ip, local.port);
  if (!l && bound && local.port == remote.port && ip_addr_cmp(&local.ip, &remote.ip))
    return error::again; // to itself
  if (!l) {
    refuse();
    return {};
  }
  if (IP_IS_V6_VAL(local.ip) != IP_IS_V6_VAL(remote.ip))
    return error::netunreach;
  if (!bound)
    local.port = pick_port(port_used, &remote);
  if (local.port == 0 || (bound && connection_exists(local, remote)))
    return error::addrnotavail;
  l = find_listener(remote.ip, remote.port, local.ip, local.port);
  if (must_wait(*l))
    return error::again; // its SYN will get it into the line
  return join(*static_cast<tcp_socket*>(l->callback_arg), local, remote);
}

// Errors: nobufs.
result<void> tcp_socket::join(tcp_socket& listener, const endpoint& local, const endpoint& remote) {
  auto made = mem::make<local_connection>();
  auto accepted = make_accepted(listener);
  if (!made.ok() || !accepted.ok() || !join_ports(**made, local.port, remote.port))
    return error::nobufs;
  local_connection& c = *made.take().release();
  tcp_socket& other = *accepted.take().leak(); // the queue's reference
  c.ends[0].socket = this;
  c.ends[1].socket = &other;
  link(c);
  release_block();
  for (tcp_socket* s : {this, &other}) {
    __atomic_store_n(&s->connection_, &c, __ATOMIC_RELAXED); // read without the lock
    s->phase_ = phase::connected;
    s->full_ = false;
  }
  local_ = other.remote_ = local;
  remote_ = other.local_ = remote;
  ++listener.listener().accepts_pending;
  listener.enqueue_accepted(other);
  refresh();
  return {};
}

void tcp_socket::connect_again() {
  tcp_pcb_listen* l = find_listener(remote_.ip, remote_.port, local_.ip, local_.port);
  if (!l)
    refuse();
  else if (must_wait(*l) || !join(*static_cast<tcp_socket*>(l->callback_arg), local_, remote_).ok())
    wait_in_line(*l, *this);
}

// --- parting

tcp_socket* tcp_socket::other_end() const {
  return connection_->ends[connection_->ends[0].socket == this].socket;
}

void tcp_socket::leave_connection() {
  local_connection& c = *connection_;
  __atomic_store_n(&connection_, nullptr, __ATOMIC_RELAXED); // read without the lock
  local_end& own = c.ends[c.ends[0].socket != this];
  leave_port(own, local_.port);
  own.socket = nullptr;
  if (!c.ends[0].socket && !c.ends[1].socket)
    unlink_and_free(c);
}

// Nothing more comes and nothing more goes. What came before can still be read.
void tcp_socket::connection_reset() {
  leave_connection();
  pending_ = reset_error();
  write_shut_ = true;
  phase_ = phase::finished;
  refresh(EPOLLERR | EPOLLHUP);
}

void tcp_socket::end_stream() {
  tcp_socket* other = other_end();
  if (!other || other->peer_closed_)
    return;
  other->peer_closed_ = true;
  other->refresh(input);
}

void tcp_socket::close_connection(bool reset) {
  if (!reset)
    end_stream();
  else if (tcp_socket* other = other_end())
    other->connection_reset();
  leave_connection();
}

// --- writing

size_t tcp_socket::room_there(const tcp_socket& other) const {
  return space_left(other.received_bytes_, send_limit() + receive_share(other));
}

// What of a queue counts as received when somebody asks for what is still to be sent: the window
// with which lwIP's connections begin.
size_t tcp_socket::receive_share(const tcp_socket& reader) const {
  return min_of(reader.settings_.receive_buffer, tcp_buffers.base);
}

uint32_t tcp_socket::unsent() const {
  const tcp_socket* other = connection_ ? other_end() : nullptr;
  const size_t there = other ? other->received_bytes_ : 0;
  return static_cast<uint32_t>(there - min_of(there, other ? receive_share(*other) : 0));
}

// Puts what fits into the other end's queue. Errors: fault, nobufs (nothing was moved).
result<size_t> tcp_socket::hand_over(mem::io_buffers& from) {
  tcp_socket* other = other_end();
  const size_t wanted = from.remaining();
  if (!other) { // it has closed: it takes this, and answers with a reset
    from.skip(wanted);
    connection_reset();
    return wanted;
  }
  size_t done = 0;
  error failed = error::none;
  for (size_t room;
       failed == error::none && from.remaining() != 0 && (room = room_there(*other)) != 0;) {
    auto moved = other->take_over(from, min_of(room, from.remaining()));
    if (moved.ok())
      done += *moved;
    else
      failed = moved.code();
  }
  if (from.remaining() != 0 && failed == error::none) {
    full_ = true;
    refresh();
    if (other->settings_.low_water > 1)
      other->low_water_may_be_reached();
  }
  return done == 0 && failed != error::none ? result<size_t>(failed) : result<size_t>(done);
}

// All of it at once. Errors: again (it does not fit, or nobody is there), fault, nobufs.
result<size_t> tcp_socket::hand_over_whole(mem::io_buffers& from) {
  const tcp_socket* other = other_end();
  if (!other || room_there(*other) < from.remaining())
    return error::again;
  return hand_over(from);
}

// Up to `bytes`, behind what the last buffer holds or in one of their own. Errors: fault, nobufs.
result<size_t> tcp_socket::take_over(mem::io_buffers& from, size_t bytes) {
  if (pbuf* last = received_last_) {
    if (const size_t tail = min_of(tail_room(*last), bytes)) {
      const size_t got = TRY(from.get(static_cast<uint8_t*>(last->payload) + last->len, tail));
      last->len = last->tot_len = static_cast<u16_t>(last->len + got);
      octets_arrived(got);
      return got;
    }
  }
  pbuf* p = make_piece(min_of(bytes, largest_piece));
  if (!p)
    return error::nobufs;
  auto got = from.get(p->payload, p->len);
  if (!got.ok()) {
    free_packet(p);
    return got;
  }
  p->len = p->tot_len = static_cast<u16_t>(*got);
  data_arrived(p);
  return got;
}

// The reader has taken something.
void tcp_socket::room_made() {
  tcp_socket* other = other_end();
  if (!other || !other->full_)
    return;
  const size_t limit = other->send_limit() + other->receive_share(*this);
  if (received_bytes_ <= limit / 3 * 2) {
    other->full_ = false;
    other->refresh();
  }
}

bool tcp_socket::writer_is_full() const {
  const tcp_socket* other = connection_ ? other_end() : nullptr;
  return other && other->full_;
}

// --- what there is to be seen

uint8_t tcp_socket::local_state() const {
  if (write_shut_)
    return peer_closed_ ? TCP_CLOSE : TCP_FIN_WAIT2;
  return peer_closed_ ? TCP_CLOSE_WAIT : TCP_ESTABLISHED;
}

} // namespace oblako::net
