// The one hardware timer of a CPU, shared by the timer queue and the scheduler's time slices. It is
// programmed only when somebody needs an earlier interrupt than the one that is coming anyway
// (writing to the APIC is an exit): what has become unnecessary fires once and finds nothing to do.
#pragma once

#include <stdint.h>

namespace oblako::time {

// Brings up the interrupt controller, which takes memory and so cannot wait until some lock is
// held: called by whatever is going to ask for interrupts. Cheap when it is up. Context: thread.
void prepare_interrupts();
// Makes sure a timer interrupt comes at the deadline or before. Units: monotonic nanoseconds.
// Context: any.
void request_interrupt_by(uint64_t deadline_ns);

} // namespace oblako::time
