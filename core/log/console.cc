// Console output: the serial port, and a second console if a driver offered one.
#include "core/log/console.hh"
#include "arch/x64/serial.hh"
#include "core/sched/spinlock.hh"

namespace oblako::log {
namespace {
constinit sched::spinlock lock{sched::lock_rank::log};
using write_function = void (*)(const char*, size_t);
constinit write_function second_console = nullptr;
} // namespace

void console_write(const char* text, size_t bytes) {
  // Lines of different CPUs must not mix.
  sched::spinlock_guard guard(lock);
  arch::serial_write(text, bytes);
  if (second_console)
    second_console(text, bytes);
}

void set_second_console(void (*write)(const char*, size_t)) {
  second_console = write;
}

} // namespace oblako::log
