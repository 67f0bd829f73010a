// Acknowledgements of large segments: one for all that a connection received in a batch.
#pragma once

struct tcp_pcb;

namespace oblako::net {

// Sends those that are due. Called when a batch of frames has been taken. Context: the stack's lock
// is held.
void send_due_acks();
// The connection's memory goes.
void forget_acks(const tcp_pcb* c);

} // namespace oblako::net
