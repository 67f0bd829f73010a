#include "core/net/tcp_deferred.hh"

#include "core/net/tcp_predict.hh"
#include "hooks.h"
#include "lwip/priv/tcp_priv.h"

namespace oblako::net {
namespace {

// A few connections, each once. All zero: no byte of the image.
template <unsigned most>
class connections {
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
  tcp_pcb* items_[most];
  unsigned count_;
};

// More connections than these with large segments in one batch are acknowledged one by one.
constinit connections<16> to_acknowledge = {};
// More than these, and all connections are looked through.
constinit connections<32> refused = {};
bool more_refused;

} // namespace

void send_due_acks() {
  while (!to_acknowledge.empty())
    if (tcp_pcb* c = to_acknowledge.take();
        c && (c->flags & TF_ACK_DELAY)) // else it went with data
      acknowledge_now(*c);
}

void send_refused() {
  if (more_refused) {
    more_refused = false;
    refused = {};
    return tcp_txnow();
  }
  // Who is refused again ends the round: the device is full.
  while (!refused.empty())
    if (tcp_pcb* c = refused.take(); c && (c->flags & TF_NAGLEMEMERR) && tcp_output(c) != ERR_OK)
      break;
}

void forget_deferred(const tcp_pcb* c) {
  to_acknowledge.forget(c);
  refused.forget(c);
}

} // namespace oblako::net

using namespace oblako::net;

extern "C" void oblako_tcp_ack_soon(tcp_pcb* c) {
  if (!to_acknowledge.add(c))
    tcp_ack_now(c);
}

extern "C" void oblako_tcp_refused(tcp_pcb* c) {
  if (!refused.add(c))
    more_refused = true;
}
