// The console: the first serial port, and a second one if a driver offers it. Output leaves in
// blocks, one exit for many bytes under KVM.
#pragma once

#include <stddef.h>

namespace oblako::log {

// Context: any.
void console_write(const char* text, size_t bytes);
// An additional place for console output (virtio-console); nullptr for none.
void set_second_console(void (*write)(const char* text, size_t bytes));

} // namespace oblako::log
