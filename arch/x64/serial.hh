// The first serial port, a 16550 at port 0x3f8 as every monitor emulates it.
#pragma once

#include <stddef.h>

namespace oblako::arch {

// All bytes in one string instruction: one exit for a whole block under KVM. The emulated port
// never asks the guest to wait. Context: any.
void serial_write(const char* text, size_t bytes);
// One received byte; false if there is none.
bool serial_read(char& c);
void serial_enable_receive_interrupt();
void serial_disable_receive_interrupt();

} // namespace oblako::arch
