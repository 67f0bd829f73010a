// The lock around the network stack. lwIP, the interfaces, the devices' transmit and receive sides
// and the protocol state of every socket belong to whoever holds it.
#pragma once

#include "core/base/types.hh"
#include "core/net/service.hh"
#include "core/sched/wait.hh"

extern "C" uint8_t oblako_loopback_queued; // see lwip/hooks.h

namespace oblako::net {

extern sched::mutex stack_lock;

// What stack_guard does on the way out when there is something to do.
void leave_with_work();

// Enters the stack for the life of the object; on the way out what was queued is delivered or sent.
// Context: thread, no spinlock held.
class stack_guard : noncopyable {
public:
  stack_guard() { stack_lock.lock(); }
  ~stack_guard() {
    if (work_left()) [[unlikely]]
      leave_with_work();
    stack_lock.unlock();
  }

private:
  static bool work_left() { return oblako_loopback_queued || service_wanted_on_leaving(); }
};

// TCP delivered data or a connection to a socket. Counted to guess how many writes will follow.
extern unsigned deliveries;
inline void note_delivery() {
  ++deliveries;
}

} // namespace oblako::net
