// What the system says it is: uname(), /proc/version, gethostname().
#pragma once

#include <stddef.h>

namespace oblako::posix {

// Programs compare these with Linux's: the calls behave like those of this release.
constexpr const char* system_name = "Linux";
constexpr const char* system_release = "6.1.0-oblako";
constexpr const char* system_version = "#1 Oblako";
constexpr const char* system_machine = "x86_64";

constexpr size_t host_name_limit = 64; // without the terminator
// The hostname= option, until sethostname() says otherwise.
const char* host_name();

} // namespace oblako::posix
