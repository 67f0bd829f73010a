// What the entry code learned from the virtual machine monitor, in one form for every protocol.
#pragma once

#include "core/base/types.hh"

namespace oblako::arch {

struct memory_range {
  uint64_t start;
  uint64_t bytes;
  uint32_t type; // 1: RAM (E820 numbering)
  uint32_t reserved;
};

struct boot_info {
  uint64_t entry_tsc = 0;       // at the first instruction
  char* command_line = nullptr; // zero-terminated, writable, stays for ever; "" if none
  const memory_range* memory_map = nullptr;
  size_t memory_ranges = 0;
  uint64_t rsdp = 0; // physical address of ACPI's root pointer, 0 if unknown
};

// Gives the image's sections their final 4 kB pages and permissions, unmaps the entry page.
// Needs the frame allocator. Boot only.
void map_image();

} // namespace oblako::arch

// The one place where things are started in order (core/boot/start.cc).
namespace oblako::boot {
[[noreturn]] void kernel_main(arch::boot_info& info);
}
