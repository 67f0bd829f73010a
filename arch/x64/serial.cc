// 16550 UART, as much of it as an emulated one needs: no baud rate, no transmit wait.
#include "arch/x64/serial.hh"
#include "arch/x64/cpu.hh"

namespace oblako::arch {
namespace {
constexpr uint16_t port_data = 0x3f8;
constexpr uint16_t port_interrupt_enable = 0x3f9;
constexpr uint16_t port_modem_control = 0x3fc;
constexpr uint16_t port_line_status = 0x3fd;
constexpr uint8_t receive_interrupt = 0x01;
constexpr uint8_t interrupt_line_out = 0x0b; // OUT2 connects the interrupt, RTS and DTR are set
constexpr uint8_t data_ready = 0x01;
} // namespace

void serial_write(const char* text, size_t bytes) {
  asm volatile("rep outsb" : "+S"(text), "+c"(bytes) : "d"(port_data) : "memory");
}

bool serial_read(char& c) {
  if (!(in8(port_line_status) & data_ready))
    return false;
  c = static_cast<char>(in8(port_data));
  return true;
}

void serial_enable_receive_interrupt() {
  out8(port_modem_control, interrupt_line_out);
  out8(port_interrupt_enable, receive_interrupt);
}

void serial_disable_receive_interrupt() {
  out8(port_interrupt_enable, 0);
}

} // namespace oblako::arch
