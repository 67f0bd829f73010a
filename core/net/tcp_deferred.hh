// What is done for a connection a little later: acknowledgements, one for all that it received in a
// batch; and output that the device had no room for. Private to core/net.
// Context: the stack's lock is held.
#pragma once

#include <stdint.h>

struct tcp_pcb;

namespace oblako::net {

// So much data has been taken in sequence: it is acknowledged at the end of the batch if something
// waits for it already, or if it is two segments or one whole one of the first. Else it waits.
void acknowledge_data(tcp_pcb& c, uint32_t bytes);
// Sends the acknowledgements that are due. Called when a batch of frames has been taken.
void send_due_acks();
// A device has room again.
void send_refused();
// The connection's memory goes.
void forget_deferred(tcp_pcb* c);

} // namespace oblako::net
