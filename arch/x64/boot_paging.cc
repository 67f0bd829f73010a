// The image's final mapping: every section on 4 kB pages of its own with the permissions it needs,
// written table by table (not page by page through the general mapper: this is on the boot path).
#include "arch/x64/boot_info.hh"
#include "arch/x64/msr.hh"
#include "arch/x64/paging.hh"
#include "core/log/log.hh"
#include "core/mem/frames.hh"

extern "C" {
extern char kernel_text_start[], kernel_text_end[], kernel_rodata_start[], kernel_rodata_end[];
extern char kernel_data_start[], kernel_data_end[], kernel_bss_start[], kernel_bss_end[];
extern char app_text_start[], app_text_end[], app_rodata_start[], app_rodata_end[];
extern char app_data_start[], app_data_end[], app_load_start[];
extern uint64_t boot_pd_kernel[], boot_pd_low[], boot_pt_low[];
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

uint64_t address(const char* symbol) {
  return reinterpret_cast<uint64_t>(symbol);
}

uint64_t* new_table() {
  auto frame = mem::allocate_frames(0, mem::zeroed::yes);
  if (!frame.ok())
    log::panic("no memory for the image's page tables: give the VM more memory");
  return static_cast<uint64_t*>(mem::to_virtual(*frame));
}

// Fills 4 kB entries for [va, end) below one page directory. Tables are made as needed; `fresh`
// tells of tables made in this pass, because the kernel's directory still holds early 2 MB pages.
class image_mapper {
public:
  explicit image_mapper(uint64_t* directory) : directory_(directory) {}

  void map(uint64_t va, uint64_t end, uint64_t pa, uint64_t flags) {
    while (va < end) {
      uint64_t* table = table_for(va >> 21 & (entries_per_table - 1));
      const uint64_t stop = min_of(end, align_down(va, large_page_size) + large_page_size);
      for (uint64_t* entry = table + (va >> page_shift & (entries_per_table - 1)); va < stop;
           va += page_size, pa += page_size)
        *entry++ = pa | flags;
    }
  }

  // Puts the last table in place; the directory entry is written only when its table is complete,
  // since the running code is mapped through it.
  void finish() {
    if (table_)
      directory_[index_] =
          raw(mem::to_physical(table_)) | page_present | page_writable | page_accessed;
    table_ = nullptr;
  }

private:
  uint64_t* table_for(size_t index) {
    if (!table_ || index != index_) {
      finish();
      table_ = new_table();
      index_ = index;
    }
    return table_;
  }

  uint64_t* directory_;
  uint64_t* table_ = nullptr;
  size_t index_ = 0;
};

void map_kernel() {
  image_mapper m(boot_pd_kernel);
  const auto section = [&](const char* start, const char* end, uint64_t flags) {
    m.map(address(start), address(end), address(start) - kernel_base, flags | page_global);
  };
  section(kernel_text_start, kernel_text_end, read_execute);
  section(kernel_rodata_start, kernel_rodata_end, read_only);
  section(kernel_data_start, kernel_data_end, read_write);
  section(kernel_bss_start, kernel_bss_end, read_write);
  m.finish();
}

void map_application() {
  image_mapper m(boot_pd_low);
  const uint64_t to_physical = address(app_load_start) - address(app_text_start);
  const auto section = [&](const char* start, const char* end, uint64_t flags) {
    m.map(address(start), address(end), address(start) + to_physical, flags);
  };
  section(app_text_start, app_text_end, read_execute);
  section(app_rodata_start, app_rodata_end, read_only);
  section(app_data_start, app_data_end, read_write);
  m.finish();
}
} // namespace

void map_image() {
  map_application();
  // The early 2 MB pages over the kernel go: entries that map_kernel() does not replace (the
  // application's part of the image, free memory) must not stay executable.
  const size_t early =
      align_up(address(kernel_bss_end) - kernel_base + 0x400000, large_page_size) >> 21;
  map_kernel();
  const size_t first_unused = ((address(kernel_bss_end) - kernel_base - 1) >> 21) + 1;
  for (size_t i = first_unused; i < early + 1; i++)
    boot_pd_kernel[i] = 0;
  const size_t first_after_text = ((address(kernel_data_end) - kernel_base - 1) >> 21) + 1;
  for (size_t i = first_after_text; i < (address(kernel_bss_start) - kernel_base) >> 21; i++)
    boot_pd_kernel[i] = 0;
  boot_pt_low[256] = 0; // the entry page
  // Toggling CR4.PGE flushes global entries too.
  const uint64_t cr4 = read_cr4();
  write_cr4(cr4 & ~uint64_t{1 << 7});
  write_cr4(cr4);
}

} // namespace oblako::arch
