// Console input: the serial port's receive interrupt. Bytes go to the console file; ^C (0x03)
// raises SIGINT instead, which is how `make run` stops a guest in order.
#include "core/log/console_input.hh"
#include "arch/x64/acpi.hh"
#include "arch/x64/interrupts.hh"
#include "arch/x64/serial.hh"
#include "core/log/log.hh"
#include <stddef.h>
#include <stdint.h>

namespace oblako::log {
namespace {

constexpr uint8_t serial_irq = 4;
bool started;

// With its interrupt enabled again the port raises it at once for a character that waits.
constexpr console_source serial_port{arch::serial_disable_receive_interrupt,
                                     arch::serial_enable_receive_interrupt};

void on_interrupt(void*) {
  char c;
  while (console_has_room(serial_port) && arch::serial_read(c))
    console_typed(c);
}
} // namespace
} // namespace oblako::log

extern "C" void oblako_start_console_input() {
  using namespace oblako;
  if (log::started)
    return;
  log::started = true;
  const auto irq = arch::resolve_isa_irq(log::serial_irq);
  auto vector = arch::allocate_vector(log::on_interrupt, nullptr);
  if (!vector.ok() || !arch::route_gsi(irq.gsi, *vector, irq.trigger, irq.polarity).ok()) {
    log::warning("no interrupt for the serial port: console input and ^C are off");
    return;
  }
  arch::serial_enable_receive_interrupt();
}
