// Descriptor tables and the way exceptions reach the portable kernel.
#pragma once

#include "arch/x64/context.hh"
#include <stdint.h>

namespace oblako::arch {

// Loads segments, task state and the table of the 32 exceptions. Boot only, before map_image().
void initialise_traps();
// From now on the table of interrupts and exceptions is this one.
void load_interrupt_table(const char* start, const char* end);

} // namespace oblako::arch

// Called on the interrupt IST stack with interrupts off; sends the EOI (arch/x64/interrupts.cc).
extern "C" void oblako_dispatch_interrupt(uint8_t vector);
// On the thread's kernel stack: does what percpu::pending asks for (reschedule, signals) before the
// interrupted application code goes on. May change the frame. Weak: comes with whatever may set
// something pending.
extern "C" [[gnu::weak]] void oblako_return_to_application(oblako::arch::trap_frame* frame,
                                                           bool full_state);
// An exception that is the application's error: raises the signal (core/posix).
extern "C" void oblako_fault_signal(oblako::arch::trap_frame* frame, int signal, int code,
                                    uintptr_t address);
// Ends the VM with a report: nothing in the application handles this signal.
extern "C" [[noreturn]] void oblako_fatal_signal(oblako::arch::trap_frame* frame, int signal,
                                                 int code, uintptr_t address);
