// Linux's boot_params, the "zero page" that a monitor hands over by the 64-bit boot protocol.
// Spec: Linux Documentation/arch/x86/boot.rst and zero-page.rst, protocol 2.15. Private to
// arch/x64.
#pragma once

#include "arch/x64/boot_info.hh"

namespace oblako::arch {

// Takes memory map and ACPI root out of a zero page (4 kB, writable) into `info`, and the command
// line's physical address (0: none). The map is spread out within the page, which must stay as
// long as the map is used. What the page holds is not trusted.
// Returns what is wrong with the page, as the end of a sentence, or nullptr.
const char* read_zero_page(void* page, boot_info& info, uint64_t& command_line);

} // namespace oblako::arch
