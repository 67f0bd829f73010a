// From the entry code to kernel_main: per-CPU block, CPU features, the PVH start info turned into
// boot_info, and the free memory handed to the frame allocator.
#include "arch/x64/boot_info.hh"
#include "arch/x64/cpu.hh"
#include "arch/x64/cpu_features.hh"
#include "arch/x64/msr.hh"
#include "arch/x64/percpu.hh"
#include "arch/x64/traps.hh"
#include "core/log/log.hh"
#include "core/mem/frames.hh"

extern "C" char image_end[];
extern "C" char boot_stack_top[];

namespace oblako::arch {
namespace {

// Xen's public/arch-x86/hvm/start_info.h, version 1.
struct hvm_start_info {
  uint32_t magic;
  uint32_t version;
  uint32_t flags;
  uint32_t module_count;
  uint64_t module_list;
  uint64_t command_line;
  uint64_t rsdp;
  uint64_t memory_map;
  uint32_t memory_map_entries;
  uint32_t reserved;
};
static_assert(sizeof(hvm_start_info) == 56);
constexpr uint32_t hvm_start_magic = 0x336ec578;

constexpr uint64_t low_memory_end = 0x100000; // firmware's and the monitor's structures live below
constexpr uint32_t range_is_ram = 1;

percpu boot_cpu;
boot_info info;
char no_command_line[1];

void set_up_percpu() {
  boot_cpu.self = &boot_cpu;
  boot_cpu.kernel_stack_top = reinterpret_cast<uintptr_t>(boot_stack_top);
  write_msr(msr_gs_base, reinterpret_cast<uint64_t>(&boot_cpu));
}

void add_free_memory() {
  const uint64_t used_end = align_up(reinterpret_cast<uint64_t>(image_end), page_size);
  for (size_t i = 0; i < info.memory_ranges; i++) {
    const memory_range& r = info.memory_map[i];
    if (r.type != range_is_ram)
      continue;
    uint64_t start = align_up(r.start, page_size);
    const uint64_t end = align_down(r.start + r.bytes, page_size);
    if (end <= low_memory_end)
      continue;
    // The image lies at the bottom of the range above 1 MB.
    if (start < used_end)
      start = used_end;
    if (start < end)
      mem::add_free_extent(phys_addr{start}, end - start);
  }
}

// All 16 lines of the two 8259s off: SeaBIOS leaves the 18 Hz timer running into vector 8, a double
// fault to us. Before interrupts are enabled for the first time, which any image does.
void mask_legacy_pic() {
  out8(0x21, 0xff);
  out8(0xa1, 0xff);
}
} // namespace

extern "C" [[noreturn]] void boot_main(uint64_t entry_tsc, uint64_t start_info) {
  set_up_percpu();
  detect_cpu_features();
  info.entry_tsc = entry_tsc;
  info.command_line = no_command_line;
  const auto* start = static_cast<const hvm_start_info*>(mem::to_virtual(phys_addr{start_info}));
  if (start->magic != hvm_start_magic || start->version < 1)
    log::panic("the monitor's PVH start info lacks a memory map (magic %x, version %u): "
               "QEMU 4.0 or later, Cloud Hypervisor or Firecracker is needed",
               start->magic, start->version);
  if (start->command_line)
    info.command_line = static_cast<char*>(mem::to_virtual(phys_addr{start->command_line}));
  info.rsdp = start->rsdp;
  info.memory_map = static_cast<const memory_range*>(mem::to_virtual(phys_addr{start->memory_map}));
  info.memory_ranges = start->memory_map_entries;
  add_free_memory();
  map_image();
  initialise_traps();
  mask_legacy_pic();
  boot::kernel_main(info);
}

} // namespace oblako::arch
