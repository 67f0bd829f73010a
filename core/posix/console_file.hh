// The console as a file: standard input, output and error, /dev/console and /dev/tty are one open
// file, as after a login. Depends on the log and the descriptor table only, so that a program that
// just prints links little.
#pragma once

#include "core/posix/file.hh"

namespace oblako::posix {

class console_file final : public file {
public:
  using file::file;
  result<size_t> read(mem::io_buffers& to) override;
  result<size_t> write(mem::io_buffers& from) override;
  result<void> status(struct stat& out) override;
  result<long> control(unsigned long request, void* app_argument) override;
  uint32_t poll_events() override;
};

// A new reference to the console.
mem::ref<file> console();

} // namespace oblako::posix

// The serial driver hands in what was typed. Bytes beyond what fits are dropped. Context: any,
// interrupts too.
extern "C" void oblako_console_input(const char* bytes, size_t count);
// Offered by the serial driver: called once, when the application first waits for input.
extern "C" [[gnu::weak]] void oblako_start_console_input();
