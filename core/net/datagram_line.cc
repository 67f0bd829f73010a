#include "core/net/datagram_line.hh"

#include "core/mem/heap.hh"
#include "core/net/interface_internal.hh"
#include "lwip/pbuf.h"

namespace oblako::net {
namespace {

datagram_sender* current; // nullptr: what is sent is the machine's own

struct lined_frame {
  pbuf_custom custom; // first: lwIP hands back a pointer to it
  datagram_sender* sender;
  size_t memory;
};

void free_lined(pbuf* p) {
  mem::release_sized(p, reinterpret_cast<lined_frame*>(p)->memory);
}

lined_frame* lined(pbuf* p) {
  return (p->flags & PBUF_FLAG_IS_CUSTOM) &&
                 reinterpret_cast<pbuf_custom*>(p)->custom_free_function == free_lined
             ? reinterpret_cast<lined_frame*>(p)
             : nullptr;
}

// So many frames may go before those that were refused as the line is long.
bool others_come_first(const interface& i) {
  return i.ring_was_full && i.overtaken_by >= i.waiting.limit();
}

void unlink(datagram_sender& s) {
  if (!s.link)
    return;
  *s.link = s.next;
  if (s.next)
    s.next->link = s.link;
  s.link = nullptr;
}

bool has_room(const interface& i, const datagram_sender& s) {
  if (others_come_first(i))
    return false;
  if (i.waiting.empty())
    return true;
  // While others wait for room, the second half of the line is nobody's.
  const size_t limit = i.refused_senders ? i.waiting.limit() / 2 : i.waiting.limit();
  return s.in_line < s.most && i.waiting.bytes() < limit;
}

} // namespace

bool may_send(netif& n, datagram_sender& s, size_t most) {
  if (!is_ours(&n))
    return true;
  interface& i = interface_of(&n);
  s.most = most;
  if (has_room(i, s)) [[likely]]
    return true;
  send_waiting(i);
  if (has_room(i, s))
    return true;
  unlink(s);
  s.next = i.refused_senders;
  s.link = &i.refused_senders;
  if (s.next)
    s.next->link = &s.next;
  i.refused_senders = &s;
  return false;
}

sending_for::sending_for(datagram_sender& s) {
  current = &s;
}
sending_for::~sending_for() {
  current = nullptr;
}

pbuf* copy_for_line(const pbuf& frame) {
  constexpr size_t in_front = (sizeof(lined_frame) + 7) / 8 * 8 + device::frame_room;
  const size_t bytes = in_front + frame.tot_len;
  auto* copy = static_cast<lined_frame*>(mem::allocate_buffer(bytes));
  if (!copy)
    return nullptr;
  copy->custom.custom_free_function = free_lined;
  copy->sender = current;
  copy->memory = bytes;
  auto* data = reinterpret_cast<uint8_t*>(copy) + in_front;
  pbuf* p =
      pbuf_alloced_custom(PBUF_RAW, frame.tot_len, PBUF_REF, &copy->custom, data, frame.tot_len);
  pbuf_copy_partial(&frame, data, frame.tot_len, 0);
  if (current)
    current->in_line += bytes;
  return p;
}

void note_left_line(pbuf& p) {
  lined_frame* f = lined(&p);
  if (!f || !f->sender)
    return;
  f->sender->in_line -= f->memory;
  f->sender = nullptr;
}

void forget_in_line(waiting_frames& line, const datagram_sender& s) {
  line.for_each([&s](void* packet) {
    if (lined_frame* f = lined(static_cast<pbuf*>(packet)); f && f->sender == &s)
      f->sender = nullptr;
  });
}

void forget_sender(datagram_sender& s) {
  unlink(s);
  if (s.in_line != 0)
    for (netif* n = netif_list; n; n = n->next)
      if (is_ours(n))
        forget_in_line(interface_of(n).waiting, s);
  s.in_line = 0;
}

void tell_refused(interface& i) {
  if (others_come_first(i) || i.waiting.bytes() > i.waiting.limit() / 2)
    return;
  datagram_sender* next;
  for (datagram_sender* s = i.refused_senders; s; s = next) {
    next = s->next;
    if (s->in_line > s->most / 2)
      continue;
    unlink(*s);
    s->has_room(*s);
  }
}

} // namespace oblako::net
