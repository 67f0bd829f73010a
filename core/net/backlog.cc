#include "core/net/backlog.hh"

#include "core/net/syn_queue.hh"
#include "core/net/tcp_handshake.hh"
#include "core/net/tcp_socket.hh"
#include "core/net/timers.hh"
#include "lwip/tcp.h"
#include <stddef.h>

namespace oblako::net {
namespace {

backlog* with_room; // chained by next_with_room
bool letting_in;    // who is at the front does not go behind those who follow

bool full(const tcp_pcb_listen& l) {
  return l.accepts_pending >= l.backlog;
}

void arrive_again(backlog_place& p) {
  leave_queue(p);
  if (p.is_record)
    confirm_again(record_at(p));
  else
    static_cast<tcp_socket&>(p).connect_again();
}

void let_in(tcp_pcb_listen& l) {
  const auto& line = l.queues.queues[backlog_waiting];
  while (backlog_place* p = line.first) {
    if (full(l))
      return;
    arrive_again(*p);
    if (line.last == p)
      return; // there was no memory for it
  }
}

} // namespace

tcp_pcb_listen& listener_of(backlog& b) {
  return *reinterpret_cast<tcp_pcb_listen*>(reinterpret_cast<char*>(&b) -
                                            offsetof(tcp_pcb_listen, queues));
}

bool must_wait(const tcp_pcb_listen& l) {
  return full(l) || (l.queues.queues[backlog_waiting].first && !letting_in);
}

void wait_in_line(tcp_pcb_listen& l, backlog_place& p) {
  enter_queue(l.queues, backlog_waiting, p);
  if (!full(l) && !letting_in)
    note_room(l);
}

void note_room(tcp_pcb_listen& l) {
  backlog& b = l.queues;
  if (b.has_room || !b.queues[backlog_waiting].first)
    return;
  b.has_room = true;
  b.next_with_room = with_room;
  with_room = &b;
  timers_changed = true;
}

bool let_in_waiting() {
  if (!with_room) [[likely]]
    return false;
  letting_in = true;
  while (backlog* b = with_room) {
    with_room = b->next_with_room;
    b->has_room = false;
    let_in(listener_of(*b));
  }
  letting_in = false;
  return true;
}

void leave_listener(tcp_pcb_listen& l) {
  backlog** link = &with_room;
  while (*link && *link != &l.queues)
    link = &(*link)->next_with_room;
  if (*link)
    *link = l.queues.next_with_room;
  while (backlog_place* p = l.queues.queues[backlog_waiting].first)
    arrive_again(*p);
  while (backlog_place* p = l.queues.queues[backlog_half_open].first)
    change_listener(record_at(*p));
}

} // namespace oblako::net
