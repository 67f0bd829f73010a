// The lock around the network stack. lwIP, the interfaces, the devices' transmit and receive sides
// and the protocol state of every socket belong to whoever holds it.
#pragma once

#include "core/base/types.hh"
#include "core/sched/wait.hh"

namespace oblako::net {

extern sched::mutex stack_lock;

// Enters the stack for the life of the object; on the way out what was queued is delivered or sent.
// Context: thread, no spinlock held.
class stack_guard : noncopyable {
public:
  stack_guard() { stack_lock.lock(); }
  ~stack_guard();
};

// TCP delivered data or a connection to a socket. Counted to guess how many writes will follow.
void note_delivery();

} // namespace oblako::net
