// Who waits at a listener. What has no room in its backlog waits in one line, wherever it comes
// from: a connection from outside is there with its record (syn_queue.hh) once its handshake is
// complete, a socket of this machine with itself, in SYN_SENT. The other queues hold the records
// whose handshake is not complete, and the connections that wait for accept().
//
// Invariants, under the stack's lock
//   1. A place is in the queue that it names, or in none (`at` is null). Records and sockets leave
//      before they are freed, and a listener's queues are empty when its control block is.
//   2. The backlog is full when accepts_pending has come to it: the accepted queue, and who is just
//      being let in.
//   3. Each queue is in order of arrival. Who arrives while somebody waits goes behind.
//   4. Whoever makes room while somebody waits notes it (note_room()); let_in_waiting() lets them
//      in from the front: in accept() itself, and otherwise with the handshakes' timers, because
//      most room is made within lwIP, which cannot be entered again. So nobody waits while there
//      is room, but for want of memory: then who could not be let in goes to the end, and it is
//      tried again when the next arrives or is accepted.
//   5. Being let in is arriving again: the record's confirmation goes through lwIP once more, the
//      socket connects again. So it is the listener of that moment that gets them; without one,
//      because theirs was closed and shared its port with nobody, they are refused as they would
//      be if they arrived now.
#pragma once

#include "core/net/lwip/backlog.h"

struct tcp_pcb_listen;

namespace oblako::net {

// At the end. Context of all: the stack's lock is held.
inline void enter_queue(backlog& b, uint8_t queue, backlog_place& p) {
  auto& q = b.queues[queue];
  p.before = q.last;
  p.behind = nullptr;
  (q.last ? q.last->behind : q.first) = &p;
  q.last = &p;
  p.at = &b;
  p.queue = queue;
  b.records += p.is_record;
}

// If it is in one.
inline void leave_queue(backlog_place& p) {
  if (!p.at)
    return;
  auto& q = p.at->queues[p.queue];
  (p.before ? p.before->behind : q.first) = p.behind;
  (p.behind ? p.behind->before : q.last) = p.before;
  p.at->records -= p.is_record;
  p.at = nullptr;
}

inline bool is_waiting(const backlog_place& p) {
  return p.at && p.queue == backlog_waiting;
}

// --- backlog.cc
tcp_pcb_listen& listener_of(backlog& b);
// True if who arrives now has to wait.
bool must_wait(const tcp_pcb_listen& l);
void wait_in_line(tcp_pcb_listen& l, backlog_place& p);
void note_room(tcp_pcb_listen& l);
// False: there was nothing to do. Context: lwIP is not on the stack.
bool let_in_waiting();
// The listener is not found any more: who waits there arrives again, elsewhere or for a refusal,
// and half-open connections go over to who has the port now.
void leave_listener(tcp_pcb_listen& l);

} // namespace oblako::net
