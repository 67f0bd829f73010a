// The application's address space: a tree of mapped areas, filled page by page on demand.
#pragma once

#include "core/base/result.hh"
#include "core/base/types.hh"

namespace oblako::mem {

enum protection : uint32_t { prot_none = 0, prot_read = 1, prot_write = 2, prot_exec = 4 };

// Where the pages of a file mapping come from; reads `bytes` at `offset` into kernel memory and
// zero-fills past the end. Called from page faults, without core/mem's lock but possibly below a
// system call that was copying to the application: read_page() may wait, but not for a lock that is
// held across such copies.
class page_source {
public:
  virtual void add_reference() = 0;
  virtual void drop_reference() = 0;
  virtual result<void> read_page(uint64_t offset, void* to) = 0;

protected:
  ~page_source() = default;
};

// Called at boot with the application image's sections, which are already mapped (those that are
// not writable are sealed as by mseal()), and with the memory they were loaded to, which is not the
// frame allocator's.
result<void> add_image_area(uintptr_t start, size_t bytes, uint32_t protection);
void set_image_frames(phys_addr start, phys_addr end);
// The first thread's stack, below everything that will be mapped. Called once, before any mapping.
// Returns its lowest address.
result<uintptr_t> add_first_stack(size_t bytes);

// The mmap family on page-aligned ranges. Errors as POSIX gives them, and: acces (what
// protection.cc does not allow), perm (in place of the image's text or constants). Context: thread.
struct mapping_request {
  uintptr_t hint = 0;
  size_t bytes = 0;
  uint32_t prot = 0;
  bool fixed = false;      // MAP_FIXED
  bool no_replace = false; // MAP_FIXED_NOREPLACE
  bool populate = false;
  bool no_reserve = false;       // MAP_NORESERVE: never refused for its size
  bool stack = false;            // MAP_STACK/MAP_GROWSDOWN: no large pages
  page_source* source = nullptr; // private file mapping; borrowed, the area takes its own reference
  uint64_t offset = 0;
};
result<uintptr_t> map(const mapping_request& r);
result<void> unmap(uintptr_t start, size_t bytes);
result<void> protect(uintptr_t start, size_t bytes, uint32_t prot);
result<uintptr_t> remap(uintptr_t old_start, size_t old_bytes, size_t new_bytes, int flags,
                        uintptr_t new_start);
result<void> advise(uintptr_t start, size_t bytes, int advice);
result<uintptr_t> set_break(uintptr_t new_break); // brk; 0 asks

// A page fault at an application address. True if the page is there now and the access can be
// repeated; false if it is an error of the application's. Context: thread, on its kernel stack.
enum class fault_outcome { resolved, bad_address, bad_permission, bus_error, out_of_memory };
struct fault_kind {
  bool present, write, fetch;
};
fault_outcome handle_fault(uintptr_t address, fault_kind kind);

// Brings the pages of a range in (mlock, MADV_POPULATE). Errors: nomem (also for holes).
result<void> populate(uintptr_t start, uintptr_t end);

// For each page of the range, 1 if it is in memory and 0 if not. Errors: nomem (a hole).
result<void> residence(uintptr_t start, size_t pages, uint8_t* out);
// True if every page of the range belongs to an area.
bool is_mapped(uintptr_t start, uintptr_t end);

struct area_statistics {
  uint64_t mapped_bytes;   // virtual
  uint64_t resident_bytes; // frames behind them
};
area_statistics area_usage();
// Calls f for every area in address order, for /proc/self/maps.
void for_each_area(void (*f)(uintptr_t start, uintptr_t end, uint32_t prot, const char* name,
                             void*),
                   void*);

} // namespace oblako::mem
