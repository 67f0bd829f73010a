#include "core/net/tcp_deferred.hh"

#include "core/net/tcp_predict.hh"
#include "hooks.h"
#include "lwip/priv/tcp_priv.h"

namespace oblako::net {
namespace {

// A few connections, each once. All zero: no byte of the image.
class few_connections {
public:
  // False: there is no room.
  bool add(tcp_pcb* c) {
    for (unsigned k = 0; k < count_; ++k)
      if (items_[k] == c)
        return true;
    if (count_ == most)
      return false;
    items_[count_++] = c;
    return true;
  }
  void forget(const tcp_pcb* c) {
    for (unsigned k = 0; k < count_; ++k)
      if (items_[k] == c)
        items_[k] = nullptr;
  }
  bool empty() const { return count_ == 0; }
  tcp_pcb* take() { return items_[--count_]; } // nullptr: gone

private:
  static constexpr unsigned most = 16;
  tcp_pcb* items_[most];
  unsigned count_;
};

// More connections than these with large segments in one batch are acknowledged one by one.
constinit few_connections to_acknowledge = {};

// Those that had something to send and could not, longest first. A connection is in it once, and
// leaves it before it is freed.
tcp_pcb* first_refused;
tcp_pcb** last_refused = &first_refused; // where the next goes

void forget_refused(tcp_pcb* c) {
  if (!c->refused_link)
    return;
  *c->refused_link = c->refused_next;
  (c->refused_next ? c->refused_next->refused_link : last_refused) = c->refused_link;
  c->refused_link = nullptr;
}

// A sender that begins, or begins anew, may wait for the acknowledgement of one segment.
constexpr uint8_t most_quick = 15;

bool at_once(tcp_pcb& c, uint32_t bytes) {
  tcp_recovery& r = c.recovery;
  const auto now = static_cast<uint16_t>(tcp_ticks);
  if (static_cast<uint16_t>(now - r.whole_at) > c.rto)
    r.quick = 0;
  r.whole_at = now;
  if (bytes >= 2u * c.mss)
    return true;
  if (r.quick == most_quick)
    return false;
  ++r.quick;
  return true;
}

} // namespace

void acknowledge_data(tcp_pcb& c, uint32_t bytes) {
  const bool whole = bytes >= c.mss && at_once(c, bytes);
  if (whole || (c.flags & TF_ACK_DELAY))
    oblako_tcp_ack_soon(&c);
  c.flags |= TF_ACK_DELAY;
}

void send_due_acks() {
  while (!to_acknowledge.empty())
    if (tcp_pcb* c = to_acknowledge.take();
        c && (c->flags & TF_ACK_DELAY)) { // else it went with data
      if (c->ooseq)
        tcp_send_empty_ack(c); // data would not carry the SACK blocks
      else
        acknowledge_now(*c);
    }
}

void send_refused() {
  // Who is refused again ends the round: the device is full.
  while (tcp_pcb* c = first_refused) {
    forget_refused(c);
    if (c->flags & TF_NAGLEMEMERR)
      tcp_output(c);
    if (c->refused_link)
      break;
  }
}

void forget_deferred(tcp_pcb* c) {
  to_acknowledge.forget(c);
  forget_refused(c);
}

} // namespace oblako::net

using namespace oblako::net;

extern "C" void oblako_tcp_ack_soon(tcp_pcb* c) {
  if (!to_acknowledge.add(c))
    tcp_ack_now(c);
}

extern "C" void oblako_tcp_ack_data(tcp_pcb* c, u32_t bytes) {
  acknowledge_data(*c, bytes);
}

extern "C" void oblako_tcp_refused(tcp_pcb* c) {
  if (c->refused_link)
    return;
  c->refused_next = nullptr;
  c->refused_link = last_refused;
  *last_refused = c;
  last_refused = &c->refused_next;
}
