// Where a console driver hands in what was typed: the serial port's, virtio-console's.
#pragma once

#include <stddef.h>

// The console file's input (core/posix/console_file.hh).
extern "C" [[gnu::weak]] void oblako_console_input(const char* bytes, size_t count);
// Provided where signals are linked: SIGINT to the application. Interrupt context.
extern "C" [[gnu::weak]] void oblako_console_interrupt();

namespace oblako::log {

// ^C raises SIGINT, all else is input of the console file. Context: any, interrupts too.
inline void console_typed(char c) {
  constexpr char control_c = 3;
  if (c == control_c && oblako_console_interrupt)
    oblako_console_interrupt();
  else if (oblako_console_input)
    oblako_console_input(&c, 1);
}

} // namespace oblako::log
