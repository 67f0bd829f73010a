// Page-table operations on ranges. Mapping walks down directly, for it is on the fault path; the
// operations on ranges skip what is empty, so that a reservation of terabytes costs nothing.
#include "arch/x64/paging.hh"
#include "arch/x64/page_tables.hh"
#include "core/base/types.hh"
#include "core/log/log.hh"

namespace oblako::arch {

namespace {

using release_function = void (*)(phys_addr, unsigned);

constexpr entry permission_bits = page_present | page_writable | page_no_execute;

constexpr uint64_t span(unsigned level) {
  return uint64_t{1} << level_shift(level);
}

entry new_table(phys_addr frame) {
  return raw(frame) | table_flags | counted;
}

void add_to_count(entry* owner, int change) {
  if (owner && (*owner & counted))
    *owner += static_cast<entry>(static_cast<int64_t>(change)) * count_one;
}

// Pages taken out of the tables wait here until no CPU can reach them through its TLB.
class released_pages {
public:
  explicit released_pages(release_function release) : release_(release) {}
  ~released_pages() { drain(); }

  void add(uintptr_t va, phys_addr frame, unsigned order) { put(va, raw(frame) | order); }
  void add_table(uintptr_t va, phys_addr frame) { put(va, raw(frame) | table_mark); }

private:
  static constexpr unsigned capacity = 32;
  static constexpr uint64_t order_bits = 15, table_mark = 16;

  [[gnu::noinline]] void put(uintptr_t va, uint64_t item) {
    if (count_ == capacity)
      drain();
    va_[count_] = va;
    items_[count_++] = item;
  }
  [[gnu::noinline]] void drain() {
    for (unsigned i = 0; i < count_; ++i)
      flush_page(va_[i]);
    for (unsigned i = 0; i < count_; ++i) {
      const phys_addr frame{items_[i] & ~(page_size - 1)};
      if (items_[i] & table_mark)
        mem::free_frames(frame, 0);
      else
        release_(frame, items_[i] & order_bits);
    }
    count_ = 0;
  }

  release_function release_;
  unsigned count_ = 0;
  uintptr_t va_[capacity];
  uint64_t items_[capacity];
};

// Frees the counted tables on the way to va that hold nothing.
void prune(uintptr_t va, released_pages& released) {
  entry* path[5] = {};
  entry* table = root_table();
  unsigned level = 4;
  for (; level > 1; --level) {
    entry& e = table[index_at(va, level)];
    if (!e || is_leaf(e, level))
      break;
    path[level] = &e;
    table = table_at(e);
  }
  for (unsigned l = level + 1; l <= 4; ++l) {
    if (!(*path[l] & counted) || (*path[l] & count_mask))
      return;
    released.add_table(va, phys_addr{*path[l] & address_mask});
    *path[l] = 0;
    add_to_count(l < 4 ? path[l + 1] : nullptr, -1);
  }
}

void prune(uintptr_t va) {
  released_pages released(nullptr);
  prune(va, released);
}

// The entry for va at `target` level, tables above it made. nullptr: out of memory. `owner` is the
// entry that points at the table.
[[gnu::noinline]] entry* make_path(uintptr_t va, unsigned target, entry*& owner) {
  entry* table = root_table();
  owner = nullptr;
  for (unsigned level = 4; level > target; --level) {
    entry& e = table[index_at(va, level)];
    if (!e) [[unlikely]] {
      auto frame = mem::allocate_frames(0, mem::zeroed::yes);
      if (!frame.ok()) {
        prune(va);
        return nullptr;
      }
      e = new_table(frame.value());
      add_to_count(owner, 1);
    }
    if (e & page_large) [[unlikely]]
      return &e; // occupied: the caller sees it by the entry
    owner = &e;
    table = table_at(e);
  }
  return &table[index_at(va, target)];
}

// The same for a 4 kB page whose tables most likely exist: the fault path.
inline entry* small_slot(uintptr_t va, entry*& owner) {
  entry* const e4 = &root_table()[index_at(va, 4)];
  if (*e4 == 0) [[unlikely]]
    return make_path(va, 1, owner);
  entry* const e3 = &table_at(*e4)[index_at(va, 3)];
  if (*e3 == 0) [[unlikely]]
    return make_path(va, 1, owner);
  entry* const e2 = &table_at(*e3)[index_at(va, 2)];
  if (*e2 == 0 || (*e2 & page_large)) [[unlikely]]
    return make_path(va, 1, owner);
  owner = e2;
  return &table_at(*e2)[index_at(va, 1)];
}

result<void> map_at(uintptr_t va, entry value, unsigned level) {
  entry* owner;
  entry* slot = make_path(va, level, owner);
  if (!slot) [[unlikely]]
    return error::nomem;
  if (*slot) [[unlikely]]
    return error::exist;
  *slot = value;
  add_to_count(owner, 1);
  return {};
}

// The lowest existing entry for va: a leaf, or the empty entry where the walk ended.
entry* find(uintptr_t va, unsigned& level) {
  entry* table = root_table();
  for (level = 4;; --level) {
    entry* e = &table[index_at(va, level)];
    if (!*e || is_leaf(*e, level))
      return e;
    table = table_at(*e);
  }
}

// If a large page spans va (rather than starting there), breaks it into small ones.
[[gnu::noinline]] result<void> split_at(uintptr_t va) {
  unsigned level;
  entry* e = find(va, level);
  if (!*e || level != 2 || va % large_page_size == 0)
    return {};
  auto frame = mem::allocate_frames(0);
  if (!frame.ok())
    return error::nomem;
  entry* table = static_cast<entry*>(mem::to_virtual(frame.value()));
  const entry first = *e & ~entry{page_large};
  for (unsigned i = 0; i < 512; ++i)
    table[i] = first + i * page_size;
  *e = new_table(frame.value()) + 512 * count_one;
  flush_page(va);
  return {};
}

result<void> split_ends(uintptr_t start, uintptr_t end) {
  TRY(split_at(start));
  return split_at(end);
}

// Calls visit(context, entry, owner, va, level) for every non-zero leaf in [start, end) and, if
// asked, for every table after what is below it. `owner` is the entry that points at the table the
// entry is in; visit may clear the entry. A leaf that is not wholly inside has been split before.
enum class visit_tables : bool { no, yes };
struct walk {
  void (*visit)(void* context, entry& e, entry* owner, uintptr_t va, unsigned level);
  void* context;
  visit_tables tables;

  [[gnu::noinline]] void run(entry* table, entry* owner, uintptr_t start, uintptr_t end,
                             unsigned level) const {
    // The step past the last entry of the root wraps to 0: kernel addresses end there.
    for (uintptr_t va = start, next; va < end; va = next) {
      next = align_down(va, span(level)) + span(level);
      if (next == 0)
        next = end;
      entry& e = table[index_at(va, level)];
      if (!e)
        continue;
      const bool leaf = is_leaf(e, level);
      if (!leaf)
        run(table_at(e), &e, va, min_of(end, next), level - 1);
      if (leaf || tables == visit_tables::yes)
        visit(context, e, owner, va, level);
    }
  }
};

template <class F>
void for_each(uintptr_t start, uintptr_t end, visit_tables tables, F f) {
  const walk w{[](void* context, entry& e, entry* owner, uintptr_t va, unsigned level) {
                 (*static_cast<F*>(context))(e, owner, va, level);
               },
               &f, tables};
  w.run(root_table(), nullptr, start, end, 4);
}

} // namespace

result<void> map_page(uintptr_t va, phys_addr pa, uint64_t flags) {
  return map_at(va, raw(pa) | flags | leaf_flags, 1);
}

result<unsigned> map_pages(uintptr_t va, const phys_addr* frames, unsigned count, uint64_t flags) {
  entry* owner;
  entry* slot = small_slot(va, owner);
  if (!slot) [[unlikely]]
    return error::nomem;
  unsigned mapped = 0;
  while (mapped < count && slot[mapped] == 0) {
    slot[mapped] = raw(frames[mapped]) | flags | leaf_flags;
    ++mapped;
  }
  add_to_count(owner, static_cast<int>(mapped));
  return mapped;
}

result<void> map_large_page(uintptr_t va, phys_addr pa, uint64_t flags) {
  return map_at(va, raw(pa) | flags | leaf_flags | page_large, 2);
}

bool large_slot_free(uintptr_t va) {
  unsigned level;
  return *find(va, level) == 0 && level > 1;
}

mapping lookup(uintptr_t va) {
  unsigned level;
  const entry e = *find(va, level);
  if (!e)
    return {phys_addr{0}, 0, false};
  const uint64_t page = level == 1 ? page_size : large_page_size;
  const uint64_t in_leaf = align_down(va % span(level), page);
  return {phys_addr{align_down(e & address_mask, span(level)) + in_leaf}, e & ~address_mask,
          level > 1};
}

result<void> unmap_range(uintptr_t start, uintptr_t end, release_function release) {
  TRY(split_ends(start, end));
  released_pages released(release);
  for_each(start, end, visit_tables::yes,
           [&](entry& e, entry* owner, uintptr_t va, unsigned level) {
             if (is_leaf(e, level))
               released.add(va, phys_addr{e & address_mask & ~(span(level) - 1)}, 9 * (level - 1));
             else if ((e & counted) && !(e & count_mask))
               released.add_table(va, phys_addr{e & address_mask});
             else
               return;
             e = 0;
             add_to_count(owner, -1);
           });
  return {};
}

result<void> protect_range(uintptr_t start, uintptr_t end, uint64_t flags) {
  TRY(split_ends(start, end));
  unsigned changed = 0;
  constexpr unsigned flush_limit = 32;
  for_each(start, end, visit_tables::no, [&](entry& e, entry*, uintptr_t va, unsigned) {
    const entry updated = (e & ~permission_bits) | (flags & permission_bits);
    if (updated == e)
      return;
    const bool reachable = e & page_present;
    e = updated;
    if (reachable && ++changed <= flush_limit)
      flush_page(va);
  });
  if (changed > flush_limit)
    flush_all();
  return {};
}

result<void> move_range(uintptr_t from, uintptr_t to, size_t bytes) {
  const uintptr_t end = from + bytes;
  TRY(split_ends(from, end));
  const bool keep_large = (from ^ to) % large_page_size == 0;
  const uintptr_t distance = to - from;
  // First all that can fail: the tables on the other side.
  bool failed = false;
  for_each(from, end, visit_tables::no, [&](entry&, entry*, uintptr_t va, unsigned level) {
    entry* owner;
    if (level == 1 || keep_large) {
      failed = failed || !make_path(va + distance, level, owner);
      return;
    }
    failed = failed || !make_path(va + distance, 1, owner) ||
             !make_path(va + distance + large_page_size - page_size, 1, owner) ||
             !split_at(va + page_size).ok();
  });
  released_pages released(nullptr);
  if (!failed)
    for_each(from, end, visit_tables::no,
             [&](entry& e, entry* owner, uintptr_t va, unsigned level) {
               entry* new_owner;
               *make_path(va + distance, level, new_owner) = e;
               add_to_count(new_owner, 1);
               e = 0;
               add_to_count(owner, -1);
               flush_page(va);
             });
  // Tables that are empty now, on either side.
  for (uintptr_t va = align_down(from, large_page_size); va < end; va += large_page_size)
    prune(va, released);
  for (uintptr_t va = align_down(to, large_page_size); va < to + bytes; va += large_page_size)
    prune(va, released);
  if (failed)
    return error::nomem;
  return {};
}

} // namespace oblako::arch
