// The exception table: which instructions may fault on application memory, and where to go on.
#include "arch/x64/app_access.hh"

namespace {
struct table_entry {
  uintptr_t instruction, fixup;
};
} // namespace

extern "C" {
#ifdef OBLAKO_HOST_TEST
// The host's linker names the ends of the section this way by itself.
extern const table_entry table_start[] asm("__start___ex_table");
extern const table_entry table_end[] asm("__stop___ex_table");
#else
extern const table_entry table_start[] asm("__ex_table_start");
extern const table_entry table_end[] asm("__ex_table_end");
#endif

uintptr_t find_fixup(uintptr_t rip) {
  for (const table_entry* e = table_start; e < table_end; ++e)
    if (e->instruction == rip)
      return e->fixup;
  return 0;
}
}
