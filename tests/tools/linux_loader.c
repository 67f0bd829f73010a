// Plays Firecracker: boots an ELF image, which QEMU hands over as the initrd, by Linux's 64-bit
// boot protocol. The image's segments go where its program headers say, the command line to
// 0x20000, the memory map and what a monitor fills in for an ELF image into the zero page; then
// linux_loader.S enters it. Words on the command line that begin with "loader." are ours:
//
//   loader.signature=0  loader.version=N (decimal)  loader.entries=0   what a zero page may get
//   wrong loader.high                                the command line above 1 MB, in free memory
//
// Lives at 16 MB, out of the way of a small image.
#include <stddef.h>
#include <stdint.h>

struct start_info { // Xen's hvm_start_info
  uint32_t magic, version, flags, module_count;
  uint64_t modules, command_line, rsdp, memory_map;
  uint32_t memory_map_entries, reserved;
};
struct module {
  uint64_t start, bytes, command_line, reserved;
};
struct range {
  uint64_t start, bytes;
  uint32_t type, reserved;
};
struct elf_header {
  uint8_t magic[16];
  uint16_t type, machine;
  uint32_t version;
  uint64_t entry, program_headers, section_headers;
  uint32_t flags;
  uint16_t header_bytes, program_header_bytes, program_header_count;
};
struct program_header {
  uint32_t type, flags;
  uint64_t offset, virtual_address, physical_address, file_bytes, memory_bytes, alignment;
};

extern uint8_t zero_page[4096];
static struct range map[128];
static char words[4096];

static void copy(void* to, const void* from, size_t bytes) {
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes)::"memory");
}
static void clear(void* to, size_t bytes) {
  __asm__ volatile("rep stosb" : "+D"(to), "+c"(bytes) : "a"(0) : "memory");
}
static void put(size_t offset, uint64_t value, size_t bytes) {
  copy(zero_page + offset, &value, bytes);
}

static void fail(const char* text) {
  for (; *text; text++)
    __asm__ volatile("outb %0, %1" ::"a"(*text), "Nd"((uint16_t)0x3f8));
  __asm__ volatile("outb %0, %1" ::"a"((uint8_t)99), "Nd"((uint16_t)0x501));
  for (;;)
    __asm__ volatile("hlt");
}

// Takes "NAME" or "NAME=NUMBER" out of `words`, blanks in its place. -1: not there; 0: no number.
static int option(const char* name) {
  for (char* at = words; *at; at++) {
    size_t n = 0;
    while (name[n] && at[n] == name[n])
      n++;
    if (name[n] || (at > words && at[-1] != ' '))
      continue;
    int value = 0;
    for (char* end = at; *end && *end != ' '; end++) {
      if (*end >= '0' && *end <= '9')
        value = value * 10 + *end - '0';
      *end = ' ';
    }
    return value;
  }
  return -1;
}

static uint64_t load_image(const uint8_t* file) {
  const struct elf_header* elf = (const void*)file;
  static const uint8_t elf64[5] = {0x7f, 'E', 'L', 'F', 2};
  for (size_t i = 0; i < sizeof(elf64); i++)
    if (elf->magic[i] != elf64[i])
      fail("loader: the initrd is not an ELF image\r\n");
  for (size_t i = 0; i < elf->program_header_count; i++) {
    const struct program_header* p =
        (const void*)(file + elf->program_headers + i * elf->program_header_bytes);
    if (p->type != 1) // PT_LOAD
      continue;
    if (p->physical_address + p->memory_bytes > 16u << 20)
      fail("loader: the image reaches beyond 16 MB\r\n");
    copy((void*)p->physical_address, file + p->offset, p->file_bytes);
    clear((void*)(p->physical_address + p->file_bytes), p->memory_bytes - p->file_bytes);
  }
  return elf->entry;
}

uint64_t load(const struct start_info* start) {
  // Copied before anything is written: QEMU's structures lie in low memory.
  const size_t entries = start->memory_map_entries;
  if (start->module_count != 1 || entries > sizeof(map) / sizeof(map[0]))
    fail("loader: give the image as -initrd\r\n");
  const struct module* module = (const void*)start->modules;
  const uint8_t* file = (const void*)module->start;
  copy(map, (const void*)start->memory_map, entries * sizeof(map[0]));
  const char* line = (const void*)start->command_line;
  size_t length = 0;
  while (line[length])
    length++;
  if (length >= sizeof(words))
    fail("loader: the command line is too long\r\n");
  copy(words, line, length);
  const uint64_t rsdp = start->rsdp;

  const int signature = option("loader.signature");
  const int version = option("loader.version");
  const int listed = option("loader.entries");
  const int high = option("loader.high");
  const uint64_t entry = load_image(file);
  char* to = (char*)(uintptr_t)(high >= 0 ? 24u << 20 : 0x20000);
  copy(to, words, length + 1);

  // Offsets: Linux, zero-page.rst. A monitor leaves the version 0, since it has no setup header.
  put(0x070, rsdp, 8);
  put(0x1e8, listed >= 0 ? (uint64_t)listed : entries, 1);
  put(0x1fe, 0xaa55, 2);
  put(0x202, signature >= 0 ? (uint64_t)signature : 0x53726448, 4);
  put(0x206, version >= 0 ? (uint64_t)version : 0, 2);
  put(0x210, 0xff, 1); // a loader without a number of its own
  put(0x228, (uint64_t)to, 4);
  put(0x230, 0x1000000, 4); // kernel_alignment
  put(0x238, length, 4);
  for (size_t i = 0; i < entries; i++)
    copy(zero_page + 0x2d0 + i * 20, &map[i], 20);
  return entry;
}
