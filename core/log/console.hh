// The console: the first serial port (16550 at 0x3f8). Output leaves in blocks, one exit for many
// bytes under KVM (rep outsb).
#pragma once

#include <stddef.h>

namespace oblako::log {

// Context: any.
void console_write(const char* text, size_t bytes);
// An additional place for console output (virtio-console); nullptr for none.
void set_second_console(void (*write)(const char* text, size_t bytes));
// Console input of the serial port: starts interrupts, ^C raises SIGINT. Called on first use.
void start_console_input();
// Input bytes that have arrived; 0 if none. `wake` is called in interrupt context when some do.
size_t console_read(char* to, size_t bytes);
void set_console_wake(void (*wake)());

// Everything written so far is out (nothing is buffered today; crash reports call it first).
inline void flush_application_output() {}

} // namespace oblako::log
