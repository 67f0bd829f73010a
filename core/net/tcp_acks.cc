#include "core/net/tcp_acks.hh"

#include "hooks.h"
#include "lwip/priv/tcp_priv.h"

namespace oblako::net {
namespace {

// More connections than these with large segments in one batch are acknowledged one by one.
constexpr unsigned most = 16;
tcp_pcb* due[most];
unsigned due_count;

} // namespace

void send_due_acks() {
  while (due_count != 0)
    if (tcp_pcb* c = due[--due_count])
      tcp_ack_soon(c);
}

void forget_acks(const tcp_pcb* c) {
  for (unsigned i = 0; i < due_count; ++i)
    if (due[i] == c)
      due[i] = nullptr;
}

} // namespace oblako::net

using namespace oblako::net;

extern "C" void oblako_tcp_ack_soon(tcp_pcb* c) {
  for (unsigned i = 0; i < due_count; ++i)
    if (due[i] == c)
      return;
  if (due_count < most)
    due[due_count++] = c;
  else
    tcp_ack_now(c);
}
