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
// Where its readers wait; nullptr as long as nobody has opened it. Context: any.
sched::wait_queue* console_readiness();

} // namespace oblako::posix

// The input side (console_input.cc), in images that read.
extern "C" {
[[gnu::weak]] oblako::result<size_t> oblako_read_console(oblako::posix::console_file& f,
                                                         oblako::mem::io_buffers& to);
// Starts input, too: whoever waits for a line wants it to come.
[[gnu::weak]] bool oblako_console_line_ready();
[[gnu::weak]] size_t oblako_console_bytes();
}
