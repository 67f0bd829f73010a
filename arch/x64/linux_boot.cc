// Reading Linux's zero page. Monitors make one up for an ELF image: most fields are zero, often
// the protocol version too.
#include "arch/x64/linux_boot.hh"

namespace oblako::arch {
namespace {

struct [[gnu::packed]] e820_entry {
  uint64_t start;
  uint64_t bytes;
  uint32_t type;
};
static_assert(sizeof(e820_entry) == 20);
constexpr size_t max_e820_entries = 128;

struct [[gnu::packed]] boot_params {
  uint8_t screen_and_bios[0x70];
  uint64_t acpi_rsdp_addr; // 070, since protocol 2.14
  uint8_t disks[0x50];
  uint32_t ext_cmd_line_ptr; // 0c8, upper half
  uint8_t firmware[0x11c];
  uint8_t e820_entries; // 1e8
  uint8_t sentinel[0x15];
  uint16_t boot_flag; // 1fe
  uint16_t jump;
  uint32_t header;  // 202
  uint16_t version; // 206
  uint8_t loader[0x20];
  uint32_t cmd_line_ptr; // 228
  uint8_t setup[0xa4];
  e820_entry e820_table[max_e820_entries]; // 2d0
  uint8_t edd[0x330];
};
static_assert(offsetof(boot_params, acpi_rsdp_addr) == 0x70);
static_assert(offsetof(boot_params, ext_cmd_line_ptr) == 0xc8);
static_assert(offsetof(boot_params, e820_entries) == 0x1e8);
static_assert(offsetof(boot_params, boot_flag) == 0x1fe);
static_assert(offsetof(boot_params, header) == 0x202);
static_assert(offsetof(boot_params, version) == 0x206);
static_assert(offsetof(boot_params, cmd_line_ptr) == 0x228);
static_assert(offsetof(boot_params, e820_table) == 0x2d0);
static_assert(sizeof(boot_params) == 4096);

constexpr uint16_t boot_flag_magic = 0xaa55;
constexpr uint32_t header_magic = 0x53726448; // "HdrS"
constexpr uint16_t version_none = 0, version_64_bit = 0x20c, version_rsdp = 0x20e;

// The map takes the place of the narrower table it is made from: back to front, no entry is
// overwritten before it is read.
static_assert(0x2d0 + max_e820_entries * sizeof(memory_range) <= sizeof(boot_params));

const memory_range* spread_memory_map(boot_params& page, size_t count) {
  auto* map = reinterpret_cast<memory_range*>(page.e820_table);
  for (size_t i = count; i-- > 0;) {
    const e820_entry e = page.e820_table[i];
    map[i] = {e.start, e.bytes, e.type, 0};
  }
  return map;
}
} // namespace

const char* read_zero_page(void* zero_page, boot_info& info, uint64_t& command_line) {
  auto& page = *static_cast<boot_params*>(zero_page);
  if (page.boot_flag != boot_flag_magic || page.header != header_magic)
    return "rsi points at no zero page (no signature HdrS)";
  if (page.version != version_none && page.version < version_64_bit)
    return "the zero page's protocol version is below 2.12";
  if (page.e820_entries == 0 || page.e820_entries > max_e820_entries)
    return "the zero page holds no memory map";
  info.memory_ranges = page.e820_entries;
  info.memory_map = spread_memory_map(page, page.e820_entries);
  info.rsdp =
      page.version == version_none || page.version >= version_rsdp ? page.acpi_rsdp_addr : 0;
  command_line = uint64_t{page.ext_cmd_line_ptr} << 32 | page.cmd_line_ptr;
  return nullptr;
}

} // namespace oblako::arch
