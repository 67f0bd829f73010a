// The local APIC of the running CPU: interrupt acceptance, end of interrupt, one-shot timer.
// Brought up on first need (a vector or the timer); an image that needs neither has none of it.
// Spec: Intel SDM vol. 3, chapter 10.
#pragma once

#include "core/base/result.hh"
#include <stdint.h>

namespace oblako::arch {

// Vectors 0x20 to 0xef are handed out by allocate_vector().
constexpr uint8_t first_device_vector = 0x20;
constexpr uint8_t last_device_vector = 0xef;
constexpr uint8_t timer_vector = 0xf0;
constexpr uint8_t spurious_vector = 0xff;

// Enables the local APIC, once. Leaves the interrupt flag alone.
// Errors: nomem (registers cannot be mapped). Context: thread or interrupts off.
result<void> start_interrupts();

// Arms the one-shot timer of this CPU; replaces an earlier deadline, time::no_deadline disarms.
// The timer vector calls oblako_timer_interrupt(). It may come early (the counter is 32 bits, its
// frequency an estimate at first), never systematically late: the handler looks at the clock
// and arms again. Units: monotonic nanoseconds. Context: any, interrupts off.
void arm_deadline_timer(uint64_t monotonic_deadline_ns);

// For the dispatcher.
void end_of_interrupt();

} // namespace oblako::arch

// The timer subsystem's handler; runs with interrupts off on the interrupt stack.
extern "C" [[gnu::weak]] void oblako_timer_interrupt();
