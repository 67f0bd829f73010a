// Growing the direct map: boot maps the low part, the rest follows as the frame allocator opens it.
#include "arch/x64/cpu_features.hh"
#include "arch/x64/image_tables.hh"
#include "arch/x64/page_tables.hh"
#include "core/mem/clear.hh"

namespace oblako::arch {

namespace {

constexpr entry direct_flags =
    page_present | page_writable | page_large | page_global | page_no_execute | leaf_flags;
constexpr uint64_t gigabyte = uint64_t{1} << 30;

#ifdef OBLAKO_HOST_TEST
bool has_gigabyte_pages() {
  return false;
}

class window {
public:
  explicit window(uint64_t) {}
  void* view(uint64_t address) const { return mem::to_virtual(phys_addr{address}); }
};
#else
bool has_gigabyte_pages() {
  return features.gb_pages;
}

// A view of a 2 MB block that the direct map does not reach yet, in the last 2 MB of the address
// space: they are kept free for this.
class window {
public:
  explicit window(uint64_t block) {
    entry* table = root_table();
    for (unsigned level = 4; level > 2; --level)
      table = table_at(table[index_at(base, level)]);
    slot_ = &table[index_at(base, 2)];
    *slot_ = block | page_present | page_writable | page_large | page_no_execute | leaf_flags;
  }
  ~window() {
    *slot_ = 0;
    flush_page(base);
  }
  void* view(uint64_t address) const {
    return reinterpret_cast<void*>(base + address % large_page_size);
  }

private:
  static constexpr uintptr_t base = -large_page_size;
  entry* slot_;
};
#endif

// Tables from the front of the very memory that is to be mapped.
struct tables_of_piece {
  window& view;
  uint64_t next, end;

  entry* take(uint64_t& address) {
    if (next + page_size > end)
      return nullptr;
    address = next;
    next += page_size;
    void* table = view.view(address);
    mem::clear_pages(table, 1);
    return static_cast<entry*>(table);
  }
};

// The direct map's entry for an address if it is mapped.
bool is_mapped(uint64_t address) {
  const uintptr_t va = mem::direct_map_base + address;
  entry* table = root_table();
  for (unsigned level = 4; level > 1; --level) {
    const entry e = table[index_at(va, level)];
    if (!e || is_leaf(e, level))
      return e;
    table = table_at(e);
  }
  return false;
}

// Maps the 2 MB, or the 1 GB, that hold an address which is not mapped. False: out of tables.
bool map_around(uint64_t address, tables_of_piece& tables) {
  const uintptr_t va = mem::direct_map_base + address;
  entry* table = root_table();
  for (unsigned level = 4;; --level) {
    entry& e = table[index_at(va, level)];
    if (level == 2 || (level == 3 && !e && has_gigabyte_pages())) {
      e = align_down(address, level == 3 ? gigabyte : large_page_size) | direct_flags;
      return true;
    }
    if (e) {
      table = table_at(e);
      continue;
    }
    uint64_t frame;
    table = tables.take(frame);
    if (!table)
      return false;
    e = frame | table_flags;
  }
}

} // namespace

result<unsigned> map_new_memory(phys_addr start, uint64_t& bytes) {
  if (raw(start) < image_blocks_end()) {
    // Page by page, so not more than a small image will use.
    constexpr uint64_t piece = 256_KiB;
    bytes = min_of(bytes, align_down(raw(start), piece) + piece - raw(start));
    map_beside_image(raw(start), raw(start) + bytes);
    return 0u;
  }
  if (is_mapped(raw(start)))
    return 0u;
  window view(align_down(raw(start), large_page_size));
  tables_of_piece tables{view, raw(start), raw(start) + bytes};
  // A table that was linked in before the piece ran out stays linked, and its page stays taken.
  if (!map_around(raw(start), tables))
    return error::nomem;
  return static_cast<unsigned>((tables.next - raw(start)) / page_size);
}

} // namespace oblako::arch
