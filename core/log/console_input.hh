// Where a console driver hands in what was typed: the serial port's, virtio-console's.
//
// A driver asks console_has_room() before it takes a character from its device. Where there is no
// room it leaves the character there, so that the device and whoever sends to it wait.
#pragma once

#include <stddef.h>

namespace oblako::log {

// A driver of console input, which lives for ever.
struct console_source {
  // No character is wanted until resume(). Context: any, under the lock of the console's input.
  void (*hold)();
  // Characters are wanted again; may be called more than once. Context: any, no lock held.
  void (*resume)();
};
constexpr size_t max_console_sources = 2; // the serial port, virtio-console

} // namespace oblako::log

// The console file's input (core/posix/console_file.hh).
extern "C" [[gnu::weak]] void oblako_console_input(char c);
extern "C" [[gnu::weak]] bool oblako_console_has_room(const oblako::log::console_source& source);
// Provided where signals are linked: SIGINT to the application. Interrupt context.
extern "C" [[gnu::weak]] void oblako_console_interrupt();

namespace oblako::log {

// False: the source was held and is resumed later. Context: any.
inline bool console_has_room(const console_source& source) {
  return !oblako_console_has_room || oblako_console_has_room(source);
}

// ^C raises SIGINT, all else is input of the console file. Context: any, interrupts too.
inline void console_typed(char c) {
  constexpr char control_c = 3;
  if (c == control_c && oblako_console_interrupt)
    oblako_console_interrupt();
  else if (oblako_console_input)
    oblako_console_input(c);
}

} // namespace oblako::log
