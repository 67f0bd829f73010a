// The table of local TCP ports (patch 52): each port in use has a record with those who have it, so
// that bind(), the choice of a port and a SYN look at nobody else's.
//
// Invariants: a block with a local port, a listener and a joined socket's end are in the chain of
// their port's record, and port_link then points at what points at them; a record without any is
// freed. The users of a port are in no order. Guarded by the stack's lock.
#include "core/net/tcp_ports.hh"

#include "core/base/types.hh"
#include "core/log/log.hh"
#include "core/mem/frames.hh"
#include "core/mem/heap.hh"
#include "core/net/backlog.hh"
#include "core/net/port.hh"
#include "core/net/tcp_lookup.hh"
#include "core/net/tcp_socket.hh"
#include "hooks.h"

namespace oblako::net {
namespace {

port_users** buckets;
uint16_t mask;

port_users** find_link(uint16_t port) {
  port_users** link = &buckets[port & mask];
  while (*link && (*link)->port != port)
    link = &(*link)->in_bucket;
  return link;
}

port_users* find_or_make(uint16_t port) {
  port_users** link = find_link(port);
  if (*link)
    return *link;
  auto* u = static_cast<port_users*>(mem::allocate_buffer_zeroed(sizeof(port_users)));
  if (u)
    u->port = port;
  return *link = u;
}

template <class block>
void link_in(block*& first, block* b) {
  b->port_next = first;
  if (first)
    first->port_link = &b->port_next;
  b->port_link = &first;
  first = b;
}

template <class block>
void take_out(block* b, uint16_t port) {
  *b->port_link = b->port_next;
  if (b->port_next)
    b->port_next->port_link = b->port_link;
  b->port_link = nullptr;
  port_users** link = find_link(port);
  port_users* u = *link;
  if (u->blocks || u->listeners || u->joined)
    return;
  *link = u->in_bucket;
  mem::release_sized(u, sizeof *u);
}

} // namespace

void make_port_table() {
  // Ports are their own hash: those that are chosen spread by themselves. One bucket for every
  // 64 kB of memory, 4,096 at most: seven ports each, if all that can be chosen are in use.
  unsigned count = 256;
  while (count < 4096 && (mem::frame_usage().total_bytes >> 16) > count)
    count *= 2;
  buckets = static_cast<port_users**>(mem::allocate_zeroed(count * sizeof *buckets));
  if (!buckets)
    log::panic("net: no memory for the table of ports");
  mask = static_cast<uint16_t>(count - 1);
}

const port_users* users_of(uint16_t port) {
  return *find_link(port);
}

bool port_taken_towards(uint16_t port, const ip_addr_t& remote_ip, uint16_t remote_port) {
  const port_users* u = users_of(port);
  if (!u)
    return false;
  if (u->listeners)
    return true;
  for (const tcp_pcb* c = u->blocks; c; c = c->port_next)
    if (c->state == CLOSED ||
        (c->remote_port == remote_port && ip_addr_cmp(&c->remote_ip, &remote_ip)))
      return true;
  for (const local_end* e = u->joined; e; e = e->port_next) {
    const endpoint& remote = e->socket->remote();
    if (remote.port == remote_port && ip_addr_cmp(&remote.ip, &remote_ip))
      return true;
  }
  return false;
}

bool join_port(local_end& e, uint16_t port) {
  port_users* u = find_or_make(port);
  if (u)
    link_in(u->joined, &e);
  return u != nullptr;
}

void leave_port(local_end& e, uint16_t port) {
  take_out(&e, port);
}

tcp_pcb_listen* find_listener(const ip_addr_t& local_ip, uint16_t local_port,
                              const ip_addr_t& remote_ip, uint16_t remote_port) {
  const port_users* u = users_of(local_port);
  if (!u)
    return nullptr;
  tcp_pcb_listen *any = nullptr, *any_of_both = nullptr;
  for (tcp_pcb_listen* l = u->listeners; l; l = l->port_next) {
    if (IP_IS_ANY_TYPE_VAL(l->local_ip))
      any_of_both = l;
    else if (IP_GET_TYPE(&l->local_ip) != IP_GET_TYPE(&local_ip))
      continue;
    else if (ip_addr_cmp(&l->local_ip, &local_ip))
      return choose_listener(l, remote_ip, remote_port);
    else if (ip_addr_isany(&l->local_ip))
      any = l;
  }
  if (!any)
    any = any_of_both;
  return any ? choose_listener(any, remote_ip, remote_port) : nullptr;
}

} // namespace oblako::net

using namespace oblako::net;

extern "C" {

err_t oblako_tcp_bound(tcp_pcb* c) {
  port_users* u = find_or_make(c->local_port);
  if (!u)
    return ERR_MEM;
  link_in(u->blocks, c);
  return ERR_OK;
}

void oblako_tcp_unbound(tcp_pcb* c) {
  if (c->port_link)
    take_out(c, c->local_port);
}

// The block that becomes the listener still has the port, so its record is there.
void oblako_tcp_listening(tcp_pcb_listen* l) {
  l->queues = {};
  link_in(find_or_make(l->local_port)->listeners, l);
}

void oblako_tcp_listen_closed(tcp_pcb_listen* l) {
  take_out(l, l->local_port);
  leave_listener(*l);
}

tcp_pcb_listen* oblako_tcp_listener(const ip_addr_t* local_ip, u16_t local_port,
                                    const ip_addr_t* remote_ip, u16_t remote_port) {
  return find_listener(*local_ip, local_port, *remote_ip, remote_port);
}

} // extern "C"
