// Kernel virtual memory outside the direct map: device registers, and stacks with guard pages.
#pragma once

#include "core/base/result.hh"
#include "core/base/types.hh"

namespace oblako::mem {

// Maps device registers uncached; the mapping stays for the life of the VM. Mapping the same page
// twice gives the same address. Errors: nomem.
result<volatile void*> map_device(phys_addr start, size_t bytes);

constexpr size_t kernel_stack_size = 16 * 1024;
// A stack of kernel_stack_size bytes with an unmapped page below it. Returns its highest address
// (exclusive), 16-byte aligned. Errors: nomem.
result<uintptr_t> allocate_kernel_stack();
void free_kernel_stack(uintptr_t top);

} // namespace oblako::mem
