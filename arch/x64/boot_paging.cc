// The image's final mapping: every section on 4 kB pages of its own with the permissions it needs,
// written table by table (not page by page through the general mapper: this is on the boot path).
//
// The kernel's window (kernel_base + physical) and the direct map (direct_map_base + physical)
// share the tables of the 2 MB blocks that hold kernel sections. So an entry without permission to
// write holds in both, and nothing of the image can be changed through the direct map that cannot
// be changed where it runs. The direct map's directory adds that nothing is executable. The
// application's part of the image is in neither: the kernel reaches it where it is linked.
//
// What else lies in these blocks (memory behind the image, what the monitor left below it) is
// entered when it is needed: map_beside_image().
#include "arch/x64/boot_info.hh"
#include "arch/x64/image_tables.hh"
#include "arch/x64/msr.hh"
#include "arch/x64/paging.hh"
#include "core/base/types.hh"

extern "C" {
extern char kernel_text_start[], kernel_text_end[], kernel_rodata_start[], kernel_rodata_end[];
extern char kernel_data_start[], kernel_data_end[], kernel_bss_start[], kernel_bss_end[];
extern char app_text_start[], app_text_end[], app_rodata_start[], app_rodata_end[];
extern char app_data_start[], app_data_end[], app_load_start[];
extern uint64_t boot_pd_kernel[], boot_pd_early[], boot_pd_low[], boot_pt_low[];
// The shared tables, in the order of the blocks, without those of the blocks that hold nothing of
// the kernel (image.ld).
extern uint64_t image_tables[];
// The application's tables, from the block of its text to that of its data.
extern uint64_t app_tables[];
extern char pvh_entry[]; // in the image's first page
// Absolute symbols: their addresses are the values.
extern char kernel_low_blocks[], kernel_high_first[], kernel_high_end[];
}

namespace oblako::arch {
namespace {

constexpr uintptr_t kernel_base = 0xffffffffc0000000;
constexpr size_t entries_per_table = 512;
// Accessed and dirty are set beforehand: the CPU then never has to write the tables.
constexpr uint64_t present = page_present | page_accessed;
constexpr uint64_t read_execute = present;
constexpr uint64_t read_only = present | page_no_execute;
constexpr uint64_t read_write = present | page_writable | page_dirty | page_no_execute;
constexpr uint64_t table = page_present | page_writable | page_accessed;

uint64_t address(const void* symbol) {
  return reinterpret_cast<uint64_t>(symbol);
}
uint64_t physical(const void* kernel_symbol) {
  return address(kernel_symbol) - kernel_base;
}

// 2 MB blocks of physical memory: [0, low_blocks) hold text, constants and data of the kernel,
// [high_first, high_end) its zeroed memory; both groups have tables. Between them lies what is the
// application's alone.
size_t low_blocks() {
  return address(kernel_low_blocks);
}
size_t high_first() {
  return address(kernel_high_first);
}
size_t high_end() {
  return address(kernel_high_end);
}

// The shared entry for a page of a block that has a table.
uint64_t* image_entry(uint64_t address) {
  const size_t skipped = address >> 21 < low_blocks() ? 0 : high_first() - low_blocks();
  return image_tables + (address >> page_shift) - skipped * entries_per_table;
}

// Writes the entries of `count` pages in a row. Three instructions a page.
void fill(uint64_t* entry, uint64_t value, size_t count) {
  if (count)
    asm volatile("1: stosq\n add %[page], %%rax\n loop 1b"
                 : "+D"(entry), "+a"(value), "+c"(count)
                 : [page] "i"(page_size)
                 : "memory");
}

// Enters a section of the kernel into the shared tables.
void map_section(const void* start, const void* end, uint64_t flags) {
  const uint64_t first = physical(start);
  fill(image_entry(first), first | flags | page_global,
       (physical(end) - first + page_size - 1) >> page_shift);
}

// Puts the tables into both directories, in place of the early 2 MB pages. Tables first have to be
// complete, since the running code is mapped through them.
void enter_tables(size_t first, size_t end) {
  for (size_t block = first; block < end; ++block) {
    const uint64_t entry = physical(image_entry(block << 21)) | table;
    boot_pd_kernel[block] = entry;
    boot_pd_early[block] = entry | page_no_execute;
  }
}

void map_kernel() {
  map_section(kernel_text_start, kernel_text_end, read_execute);
  map_section(kernel_rodata_start, kernel_rodata_end, read_only);
  map_section(kernel_data_start, kernel_data_end, read_write);
  map_section(kernel_bss_start, image_tables, read_write);
  map_section(image_tables, kernel_bss_end, read_only); // which hold after boot
  enter_tables(0, low_blocks());
  enter_tables(high_first(), high_end());
  for (size_t block = low_blocks(); block < high_first(); ++block)
    boot_pd_kernel[block] = boot_pd_early[block] = 0;
  // The kernel's window ends here; the direct map goes on.
  const size_t early = (physical(kernel_bss_end) + 0x400000 + large_page_size - 1) >> 21;
  for (size_t block = high_end(); block < early; ++block)
    boot_pd_kernel[block] = 0;
}

// Enters a section of the application into its own tables.
void map_application_section(const void* start, const void* end, uint64_t flags) {
  const uint64_t offset = address(start) - address(app_text_start);
  fill(app_tables + (offset >> page_shift), (address(app_load_start) + offset) | flags,
       (address(end) - address(start)) >> page_shift);
}

void map_application() {
  map_application_section(app_text_start, app_text_end, read_execute);
  map_application_section(app_rodata_start, app_rodata_end, read_only);
  map_application_section(app_data_start, app_data_end, read_write);
  uint64_t entry = physical(app_tables) | table;
  const size_t end = (address(app_data_end) - 1) >> 21;
  for (size_t block = address(app_text_start) >> 21; block <= end; ++block, entry += page_size)
    boot_pd_low[block] = entry;
}
} // namespace

uint64_t image_blocks_end() {
  return uint64_t{high_end()} << 21;
}

void map_beside_image(uint64_t start, uint64_t end) {
  const uint64_t image_start = align_down(reinterpret_cast<uint64_t>(pvh_entry), page_size);
  start = align_down(start, page_size);
  end = min_of(end, start < image_start ? image_start : image_blocks_end());
  if (start >= end || (start >= image_start && start < physical(kernel_bss_end)))
    return;
  // The tables are read-only like what they map, and this is seldom.
  const uint64_t cr0 = read_cr0();
  write_cr0(cr0 & ~cr0_write_protect);
  fill(image_entry(start), start | read_write | page_global,
       (end - start + page_size - 1) >> page_shift);
  write_cr0(cr0);
}

void map_image() {
  map_application();
  map_kernel();
  boot_pt_low[256] = 0; // the entry page
  // Toggling CR4.PGE flushes global entries too.
  const uint64_t cr4 = read_cr4();
  write_cr4(cr4 & ~uint64_t{1 << 7});
  write_cr4(cr4);
}

} // namespace oblako::arch
