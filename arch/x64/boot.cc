// From the entry code to kernel_main: per-CPU block, CPU features, what the monitor left turned
// into boot_info, and the free memory handed to the frame allocator.
#include "arch/x64/boot_info.hh"
#include "arch/x64/cpu.hh"
#include "arch/x64/cpu_features.hh"
#include "arch/x64/image_tables.hh"
#include "arch/x64/linux_boot.hh"
#include "arch/x64/msr.hh"
#include "arch/x64/paging.hh"
#include "arch/x64/percpu.hh"
#include "arch/x64/traps.hh"
#include "core/boot/timeline.hh"
#include "core/log/log.hh"
#include "core/mem/frames.hh"

extern "C" char image_end[];
extern "C" char boot_stack_top[];
extern "C" uint64_t boot_pd_early[];
extern "C" uint64_t __stack_chk_guard;

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

// How the image was entered; boot.S has the same numbers.
enum class boot_protocol : uint32_t { pvh, linux64 };

constexpr uint64_t low_memory_end = 0x100000; // firmware's and the monitor's structures live below
constexpr uint32_t range_is_ram = 1;

percpu boot_cpu;
boot_info info;
char no_command_line[1];

// The kernel's canary lies among the constants, read-only once it has its value. No function that
// has looked at it may return behind this.
asm(".pushsection .rodata.stack_guard, \"a\", @progbits\n"
    ".globl __stack_chk_guard\n"
    ".p2align 3\n"
    "__stack_chk_guard: .quad 0\n"
    ".popsection");

[[gnu::always_inline]] inline void choose_stack_guard(uint64_t entry_tsc) {
  uint64_t seed = 0;
  hardware_random(seed); // where there is none, the time has to do
  seed ^= (entry_tsc << 32 ^ read_tsc()) * 0x9e3779b97f4a7c15;
  // A zero byte stops what goes by strings; as the second one, because the first is where one byte
  // too many lands.
  __stack_chk_guard = seed & ~uint64_t{0xff00};
}

void set_up_percpu() {
  boot_cpu.self = &boot_cpu;
  boot_cpu.kernel_stack_top = reinterpret_cast<uintptr_t>(boot_stack_top);
  write_msr(msr_gs_base, reinterpret_cast<uint64_t>(&boot_cpu));
}

// Nothing of ours is broken, and there is nothing to trace.
[[noreturn, gnu::cold]] void refuse(const char* protocol, const char* why) {
  log::error("oblako: entered by %s, but %s", protocol, why);
  power_off(1);
}
constexpr char pvh[] = "PVH", linux64[] = "the 64-bit Linux boot protocol";

// Beyond what the entry code mapped: the first 1 GB has its directory.
[[gnu::noinline, gnu::cold]] void map_monitor_memory(uint64_t address) {
  constexpr uint64_t reach = 512 * large_page_size;
  if (address >= reach - large_page_size)
    refuse("the monitor", "what it left for the kernel lies beyond the first GB");
  for (uint64_t block = address / large_page_size, end = block + 2; block < end; block++)
    boot_pd_early[block] = block * large_page_size | page_present | page_writable | page_large |
                           page_global | page_no_execute;
}

// A structure of the monitor's, which may be anywhere. None is longer than 2 MB.
template <class T>
T* monitor_memory(uint64_t address) {
  if (address >= reinterpret_cast<uint64_t>(image_end)) [[unlikely]]
    map_monitor_memory(address);
  return static_cast<T*>(mem::to_virtual(phys_addr{address}));
}

// Both return the command line's physical address, 0 if there is none.
uint64_t read_pvh(uint64_t address) {
  const auto& start = *monitor_memory<hvm_start_info>(address);
  if (start.magic != hvm_start_magic || start.version < 1)
    refuse(pvh, "the start info lacks a memory map: QEMU 4.0 or later, Cloud Hypervisor or "
                "Firecracker is needed");
  info.rsdp = start.rsdp;
  info.memory_map = monitor_memory<const memory_range>(start.memory_map);
  info.memory_ranges = start.memory_map_entries;
  return start.command_line;
}

uint64_t read_linux(uint64_t address) {
  uint64_t command_line = 0;
  if (const char* wrong = read_zero_page(monitor_memory<void>(address), info, command_line))
    refuse(linux64, wrong);
  return command_line;
}

// Stays for ever, and may lie in what the memory map calls free.
struct {
  uint64_t start, end;
} command_line_pages;

void keep_command_line(uint64_t address) {
  const char* end = monitor_memory<char>(address);
  asm volatile("repne scasb" : "+D"(end) : "a"(0), "c"(~uint64_t{0}) : "memory", "cc");
  command_line_pages = {align_down(address, page_size), raw(mem::to_physical(end))};
}

void add_free_range(uint64_t start, uint64_t end) {
  const auto& kept = command_line_pages;
  if (kept.start < end && start < kept.end) [[unlikely]] {
    if (start < kept.start)
      mem::add_free_extent(phys_addr{start}, kept.start - start);
    start = align_up(kept.end, page_size);
  }
  if (start < end)
    mem::add_free_extent(phys_addr{start}, end - start);
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
    add_free_range(start, end);
  }
}

// All 16 lines of the two 8259s off: SeaBIOS leaves the 18 Hz timer running into vector 8, a double
// fault to us. Before interrupts are enabled for the first time, which any image does.
void mask_legacy_pic() {
  out8(0x21, 0xff);
  out8(0xa1, 0xff);
}
} // namespace

extern "C" [[noreturn]] void boot_main(uint64_t entry_tsc, uint64_t left_by_monitor,
                                       boot_protocol protocol) {
  OBLAKO_STAGE(long_mode);
  set_up_percpu();
  detect_cpu_features();
  choose_stack_guard(entry_tsc);
  info.entry_tsc = entry_tsc;
  const uint64_t command_line =
      protocol == boot_protocol::linux64 ? read_linux(left_by_monitor) : read_pvh(left_by_monitor);
  info.command_line = command_line ? monitor_memory<char>(command_line) : no_command_line;
  if (command_line)
    keep_command_line(command_line);
  add_free_memory();
  OBLAKO_STAGE(memory);
  initialise_traps(); // first: the processor marks the task state, which is read-only behind it
  map_image();
  map_beside_image(command_line_pages.start, command_line_pages.end);
  mask_legacy_pic();
  OBLAKO_STAGE(sections);
  boot::kernel_main(info);
}

} // namespace oblako::arch
