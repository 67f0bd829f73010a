// The console device: raw bytes out, as many per exit as the device takes.
#pragma once

#include <stddef.h>

namespace oblako::log {

// Writes the bytes as they are. Context: any.
void console_write(const char* bytes, size_t count);

} // namespace oblako::log
