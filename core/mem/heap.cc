// The kernel heap. A slab is one page of equal objects with nothing in it but objects: what is to
// be known about it (free list, counts, links) is in the page's tag, so objects of a power of two
// are aligned to their size and none of the page is lost. Above half a page, whole pages.
#include "core/mem/heap.hh"
#include "core/log/log.hh"
#include "core/mem/buffer_account.hh"
#include "core/mem/frame_blocks.hh"
#include "core/mem/frames.hh"
#include "core/sched/spinlock.hh"

namespace oblako::mem {

namespace {

// page_tag of a slab: `first_free` and `fresh` in units of 16 bytes from the page's start; the
// objects from `fresh` on were never handed out; `used` objects are. `next` and `previous` link the
// class's slabs that have room, by page number, 0 for none.
// page_tag of the first page of a larger allocation: `next` is the number of pages, `size_class` as
// above, of which only whether it is a buffer's counts.
enum kind : uint8_t { kind_none, kind_slab, kind_pages };

constexpr uint16_t no_object = 0xffff;
constexpr size_t unit = 16;
constexpr size_t largest_slab_object = 2048;

// From 256 up, of which 16, 13, 12, 10 ... fit a page; 304 is what a TCP socket is.
constexpr uint16_t class_sizes[] = {16,  32,  48,  64,  80,  96,  112, 128, 160,  192,  224, 256,
                                    304, 320, 384, 448, 512, 576, 672, 816, 1024, 1360, 2048};
constexpr unsigned class_count = sizeof class_sizes / sizeof class_sizes[0];
// Buffers have slabs of their own, and their classes come behind the others: a page is charged to
// the account when the heap takes it and discharged when it gives it back.
constexpr unsigned first_buffer_class = class_count;
constexpr unsigned all_classes = 2 * class_count;

struct size_table {
  uint16_t of[all_classes];
};
constexpr size_table object_sizes = [] {
  size_table t{};
  for (unsigned c = 0; c < all_classes; ++c)
    t.of[c] = class_sizes[c % class_count];
  return t;
}();

struct class_table {
  uint8_t of_units[largest_slab_object / unit + 1];
};
constexpr class_table classes = [] {
  class_table t{};
  unsigned c = 0;
  for (unsigned units = 0; units <= largest_slab_object / unit; ++units) {
    while (class_sizes[c] < units * unit)
      ++c;
    t.of_units[units] = static_cast<uint8_t>(c);
  }
  return t;
}();

sched::spinlock lock{sched::lock_rank::memory};
// Guarded by `lock`.
uint32_t with_room[all_classes]; // page number of the first slab with room
size_t pages_in_use;

constexpr uint32_t number_of(phys_addr page) {
  return static_cast<uint32_t>(raw(page) >> page_shift);
}
constexpr phys_addr page_of(uint32_t number) {
  return phys_addr{uint64_t{number} << page_shift};
}
page_tag& tag_of(uint32_t number) {
  return page_tag_of(page_of(number));
}

void link(uint32_t number, page_tag& tag) {
  uint32_t& head = with_room[tag.size_class];
  tag.next = head;
  tag.previous = 0;
  if (head)
    tag_of(head).previous = number;
  head = number;
}

void unlink(page_tag& tag) {
  if (tag.previous)
    tag_of(tag.previous).next = tag.next;
  else
    with_room[tag.size_class] = tag.next;
  if (tag.next)
    tag_of(tag.next).previous = tag.previous;
}

bool is_buffer(unsigned size_class) {
  return size_class >= first_buffer_class;
}

// Pages for the heap, with their first page's tag. nullptr: out of memory.
page_tag* take_pages(size_t pages, unsigned size_class, phys_addr& out) {
  if (is_buffer(size_class) && !buffers.may_take_page())
    return nullptr;
  auto got = allocate_contiguous(pages);
  if (!got.ok())
    return nullptr;
  page_tag* tag = make_page_tag(got.value());
  if (!tag) {
    free_contiguous(got.value(), pages);
    return nullptr;
  }
  out = got.value();
  pages_in_use += pages;
  tag->size_class = static_cast<uint8_t>(size_class);
  if (is_buffer(size_class))
    buffers.charge(pages * page_size);
  return tag;
}

void give_back(phys_addr page, page_tag& tag, size_t pages) {
  tag.kind = kind_none;
  pages_in_use -= pages;
  if (is_buffer(tag.size_class))
    buffers.discharge(pages * page_size);
  free_contiguous(page, pages);
}

[[gnu::noinline]] bool add_slab(unsigned size_class) {
  phys_addr page;
  page_tag* tag = take_pages(1, size_class, page);
  if (!tag)
    return false;
  *tag = {.first_free = no_object,
          .fresh = 0,
          .used = 0,
          .kind = kind_slab,
          .size_class = static_cast<uint8_t>(size_class),
          .next = 0,
          .previous = 0};
  link(number_of(page), *tag);
  return true;
}

void* allocate_small(unsigned size_class) {
  if (!with_room[size_class] && !add_slab(size_class)) [[unlikely]]
    return nullptr;
  const uint32_t number = with_room[size_class];
  const uintptr_t base = reinterpret_cast<uintptr_t>(to_virtual(page_of(number)));
  page_tag& tag = tag_of(number);
  const unsigned object_units = object_sizes.of[size_class] / unit;
  constexpr unsigned page_units = page_size / unit;
  unsigned at = tag.first_free;
  if (at != no_object) {
    tag.first_free = *reinterpret_cast<uint16_t*>(base + at * unit);
  } else {
    at = tag.fresh;
    tag.fresh = static_cast<uint16_t>(at + object_units);
  }
  ++tag.used;
  if (tag.first_free == no_object && tag.fresh + object_units > page_units) [[unlikely]]
    unlink(tag);
  return reinterpret_cast<void*>(base + at * unit);
}

void release_small(uintptr_t address, page_tag& tag) {
  const phys_addr page = to_physical(reinterpret_cast<void*>(align_down(address, page_size)));
  const unsigned object_units = object_sizes.of[tag.size_class] / unit;
  constexpr unsigned page_units = page_size / unit;
  OBLAKO_ASSERT(tag.used != 0);
  const bool was_full = tag.first_free == no_object && tag.fresh + object_units > page_units;
  *reinterpret_cast<uint16_t*>(address) = tag.first_free;
  tag.first_free = static_cast<uint16_t>(address % page_size / unit);
  if (was_full)
    link(number_of(page), tag);
  // The last slab of a class stays, so that an object made and dropped in a loop costs no page.
  if (--tag.used == 0 && (tag.next || tag.previous)) {
    unlink(tag);
    give_back(page, tag, 1);
  }
}

void* allocate_pages(size_t bytes, unsigned first_class) {
  const size_t pages = (bytes + page_size - 1) >> page_shift;
  phys_addr start;
  page_tag* tag = take_pages(pages, first_class, start);
  if (!tag)
    return nullptr;
  tag->kind = kind_pages;
  tag->next = static_cast<uint32_t>(pages);
  return to_virtual(start);
}

inline void* allocate_of(size_t bytes, unsigned first_class) {
  sched::thread_spinlock_guard guard(lock);
  if (bytes <= largest_slab_object) [[likely]]
    return allocate_small(first_class + classes.of_units[(bytes + unit - 1) / unit]);
  return allocate_pages(bytes, first_class);
}

void* cleared(void* memory, size_t bytes) {
  if (memory)
    __builtin_memset(memory, 0, bytes);
  return memory;
}

} // namespace

void* allocate(size_t bytes) {
  return allocate_of(bytes, 0);
}

void* allocate_buffer(size_t bytes) {
  return allocate_of(bytes, first_buffer_class);
}

void* allocate_buffer_object(size_t bytes) {
  return buffers.held() < buffers.limit() ? allocate_buffer(bytes) : nullptr;
}

void* allocate_zeroed(size_t bytes) {
  return cleared(allocate(bytes), bytes);
}

void* allocate_buffer_zeroed(size_t bytes) {
  return cleared(allocate_buffer(bytes), bytes);
}

void release(void* memory) {
  if (!memory)
    return;
  sched::thread_spinlock_guard guard(lock);
  page_tag& tag = page_tag_of(to_physical(memory));
  if (tag.kind == kind_slab) [[likely]]
    return release_small(reinterpret_cast<uintptr_t>(memory), tag);
  OBLAKO_ASSERT(tag.kind == kind_pages); // anything else was released before, or is not ours
  give_back(to_physical(memory), tag, tag.next);
}

void release_sized(void* memory, size_t) {
  release(memory);
}

size_t heap_bytes_in_use() {
  sched::thread_spinlock_guard guard(lock);
  return pages_in_use * page_size;
}

} // namespace oblako::mem
