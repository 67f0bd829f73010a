// sources: core/mem/address_space.cc core/mem/areas.cc core/mem/remap.cc core/mem/advise.cc
// sources: core/mem/fault.cc core/mem/frames.cc core/mem/frame_blocks.cc core/mem/heap.cc
// sources: core/mem/protection.cc arch/x64/paging.cc arch/x64/direct_map.cc
// sources: core/mem/buffer_account.cc
// The application's address space against a model: one entry a page, random calls, contents
// followed through moves; every frame and table must come back in the end.
#include "arch/x64/paging.hh"
#include "core/boot/options.hh"
#include "core/mem/app_memory.hh"
#include "core/mem/areas.hh"
#include "core/mem/heap.hh"
#include "core/sched/thread.hh"
#include "core/sched/wait.hh"
#include "tests/unit/memory_arena.hh"
#include <map>
#include <random>
#include <sys/mman.h>

// One thread: the mutex is never contended.
namespace oblako::sched {
void mutex::lock_slow() {
  abort();
}
void wait_queue::notify_one(uint32_t) {
  abort();
}
void yield_if_needed() {}
result<void> killable_point() {
  return {};
}
} // namespace oblako::sched

static const char* wx_option;
static unsigned warnings;
const char* oblako::boot::option(const char* name) {
  EXPECT_STREQ(name, "mem.wx");
  return wx_option;
}
void oblako::log::warning(const char*, ...) {
  ++warnings;
}

using namespace oblako;
using namespace oblako::mem;
using namespace oblako::test;

namespace {

constexpr uint32_t rw = prot_read | prot_write;
constexpr uint64_t page_flags = arch::page_present | arch::page_writable | arch::page_no_execute;

uint64_t used() {
  return frame_usage().total_bytes - frame_usage().free_bytes;
}

void start(uint64_t bytes = 256_MiB) {
  make_physical_memory(bytes);
  add_free_extent(phys_addr{1_MiB}, bytes - 1_MiB);
  for (auto p : allocate_all(9))
    free_frames(p, 9);
  for (auto p : allocate_all(0))
    free_frames(p, 0);
}

uintptr_t map_anonymous(size_t bytes, uint32_t prot = rw, uintptr_t hint = 0, bool fixed = false) {
  mapping_request r;
  r.hint = hint;
  r.bytes = bytes;
  r.prot = prot;
  r.fixed = fixed;
  auto m = map(r);
  EXPECT_TRUE(m.ok());
  return m.ok() ? m.value() : 0;
}

fault_outcome touch(uintptr_t address, bool write = true) {
  const auto flags = arch::lookup(align_down(address, page_size)).flags;
  return handle_fault(
      address, {.present = (flags & arch::page_present) != 0, .write = write, .fetch = false});
}

// What the CPU would reach: the page's first word, or nullptr if the access would fault.
uint64_t* word_at(uintptr_t page, bool write) {
  const auto m = arch::lookup(page);
  if (!(m.flags & arch::page_present) || (write && !(m.flags & arch::page_writable)))
    return nullptr;
  const uint64_t inside = m.large ? page % large_page_size : 0;
  return static_cast<uint64_t*>(to_virtual(m.frame + inside));
}

TEST(areas, protections_are_linuxs) {
  EXPECT_EQ(prot_read, unsigned(PROT_READ));
  EXPECT_EQ(prot_write, unsigned(PROT_WRITE));
  EXPECT_EQ(prot_exec, unsigned(PROT_EXEC));
}

ISOLATED_TEST(areas, errors_of_map) {
  start(16_MiB);
  mapping_request r;
  EXPECT_EQ(map(r).code(), error::inval); // no length
  r.bytes = ~size_t{0};
  EXPECT_EQ(map(r).code(), error::nomem);
  r.bytes = 1_GiB; // far more than there is
  r.prot = rw;
  EXPECT_EQ(map(r).code(), error::nomem);
  r.no_reserve = true;
  EXPECT_TRUE(map(r).ok());
  r.no_reserve = false;
  r.prot = prot_none;
  EXPECT_TRUE(map(r).ok());
  r.prot = rw;
  r.bytes = 64_MiB; // what an allocator reserves
  EXPECT_TRUE(map(r).ok());
  r.bytes = page_size;
  r.fixed = true;
  r.hint = 0x40000123;
  EXPECT_EQ(map(r).code(), error::inval);
  r.hint = 0;
  EXPECT_EQ(map(r).code(), error::perm);
  r.hint = app_range_end;
  EXPECT_EQ(map(r).code(), error::nomem);
  r.fixed = false;
  r.hint = map_anonymous(page_size);
  r.no_replace = true;
  EXPECT_EQ(map(r).code(), error::exist);
}

ISOLATED_TEST(areas, errors_of_the_others) {
  start(16_MiB);
  const uintptr_t a = map_anonymous(4 * page_size);
  ASSERT_TRUE(unmap(a + page_size, page_size).ok());
  EXPECT_EQ(unmap(a + 1, page_size).code(), error::inval);
  EXPECT_EQ(unmap(a, 0).code(), error::inval);
  EXPECT_EQ(unmap(app_range_end, page_size).code(), error::inval);
  EXPECT_TRUE(unmap(a + page_size, page_size).ok()); // nothing there is no error
  EXPECT_EQ(protect(a, 4 * page_size, prot_read).code(), error::nomem);
  EXPECT_EQ(protect(a + 7, page_size, prot_read).code(), error::inval);
  EXPECT_EQ(protect(a, page_size, 0x100).code(), error::inval);
  EXPECT_TRUE(protect(a, 0, prot_read).ok());
  EXPECT_EQ(advise(a, 4 * page_size, MADV_DONTNEED).code(), error::nomem);
  EXPECT_EQ(advise(a, page_size, 9999).code(), error::inval);
  EXPECT_EQ(advise(a + 1, page_size, MADV_DONTNEED).code(), error::inval);
  EXPECT_EQ(remap(a, 4 * page_size, 8 * page_size, MREMAP_MAYMOVE, 0).code(), error::fault);
  EXPECT_EQ(remap(a, page_size, 2 * page_size, 0, 0).value(), a); // into the hole
  EXPECT_EQ(remap(a, 2 * page_size, 3 * page_size, 0, 0).code(), error::nomem);
  EXPECT_EQ(remap(a, 0, page_size, MREMAP_MAYMOVE, 0).code(), error::inval);
  EXPECT_EQ(remap(a, page_size, 0, MREMAP_MAYMOVE, 0).code(), error::inval);
  EXPECT_EQ(remap(a, page_size, page_size, MREMAP_FIXED, 0x50000000).code(), error::inval);
}

ISOLATED_TEST(areas, faults) {
  start(16_MiB);
  const uintptr_t a = map_anonymous(3 * page_size);
  EXPECT_EQ(touch(a - 1), fault_outcome::bad_address);
  EXPECT_EQ(touch(a + 3 * page_size), fault_outcome::bad_address);
  EXPECT_EQ(touch(0), fault_outcome::bad_address);
  EXPECT_EQ(touch(0xffff800000000000), fault_outcome::bad_address);
  EXPECT_EQ(touch(a + 5), fault_outcome::resolved);
  ASSERT_NE(word_at(a, true), nullptr);
  EXPECT_EQ(*word_at(a, true), 0u);
  ASSERT_TRUE(protect(a, page_size, prot_read).ok());
  EXPECT_EQ(touch(a), fault_outcome::bad_permission);
  EXPECT_EQ(touch(a, false), fault_outcome::resolved);
  ASSERT_TRUE(protect(a, page_size, prot_none).ok());
  EXPECT_EQ(touch(a, false), fault_outcome::bad_permission);
  EXPECT_EQ(handle_fault(a + page_size, {.present = false, .write = false, .fetch = true}),
            fault_outcome::bad_permission);
}

ISOLATED_TEST(areas, memory_running_out_at_a_fault) {
  start(4_MiB);
  const uintptr_t a = map_anonymous(32_MiB);
  const uint64_t before = used();
  auto outcome = fault_outcome::resolved;
  uintptr_t page = a;
  for (; outcome == fault_outcome::resolved && page < a + 32_MiB; page += page_size)
    outcome = touch(page);
  EXPECT_EQ(outcome, fault_outcome::out_of_memory);
  EXPECT_GE(page - a, 2_MiB);
  ASSERT_TRUE(unmap(a, 32_MiB).ok());
  EXPECT_LE(used(), before);
}

ISOLATED_TEST(areas, growing_upwards_takes_several_pages_and_then_large_ones) {
  start();
  const uintptr_t a = map_anonymous(16_MiB);
  EXPECT_EQ(a % large_page_size, 0u);
  unsigned faults = 0;
  for (uintptr_t page = a; page < a + 16_MiB; page += page_size)
    if (!word_at(page, true)) {
      ASSERT_EQ(touch(page), fault_outcome::resolved);
      ++faults;
    }
  EXPECT_LE(faults, 36u + 7u);
  EXPECT_FALSE(arch::lookup(a).large);
  EXPECT_TRUE(arch::lookup(a + 8_MiB).large);
}

ISOLATED_TEST(areas, sparse_use_of_a_stack_stays_small) {
  start();
  const uintptr_t a = map_anonymous(8_MiB);
  const uint64_t before = used();
  EXPECT_EQ(touch(a + 8_MiB - 8), fault_outcome::resolved);
  EXPECT_LE(used() - before, 4 * page_size);
}

ISOLATED_TEST(areas, no_large_pages_on_a_small_machine) {
  start(16_MiB);
  const uintptr_t a = map_anonymous(8_MiB);
  for (uintptr_t page = a; page < a + 8_MiB; page += page_size)
    if (!word_at(page, true)) {
      ASSERT_EQ(touch(page), fault_outcome::resolved);
    }
  for (uintptr_t page = a; page < a + 8_MiB; page += large_page_size)
    EXPECT_FALSE(arch::lookup(page).large);
}

ISOLATED_TEST(areas, neighbours_of_one_kind_become_one) {
  start(16_MiB);
  const uintptr_t a = map_anonymous(page_size);
  const uint64_t heap_before = used();
  for (int i = 1; i < 200; ++i)
    EXPECT_EQ(map_anonymous(page_size), a + i * page_size);
  EXPECT_LE(used(), heap_before + page_size);
  unsigned count = 0;
  for_each_area(
      [](uintptr_t, uintptr_t, uint32_t, const char*, void* n) { ++*static_cast<unsigned*>(n); },
      &count);
  EXPECT_EQ(count, 1u);
  EXPECT_EQ(area_usage().mapped_bytes, 200 * page_size);
}

ISOLATED_TEST(areas, first_fit_finds_what_was_freed) {
  start(16_MiB);
  const uintptr_t a = map_anonymous(100 * page_size);
  ASSERT_TRUE(unmap(a + 10 * page_size, 3 * page_size).ok());
  ASSERT_TRUE(unmap(a + 50 * page_size, 20 * page_size).ok());
  EXPECT_EQ(map_anonymous(5 * page_size), a + 50 * page_size);
  EXPECT_EQ(map_anonymous(3 * page_size), a + 10 * page_size);
  EXPECT_EQ(map_anonymous(15 * page_size), a + 55 * page_size);
  EXPECT_EQ(map_anonymous(page_size), a + 100 * page_size);
}

ISOLATED_TEST(areas, a_stack_has_room_below) {
  start(16_MiB);
  mapping_request r;
  r.bytes = 64_KiB;
  r.prot = rw;
  const uintptr_t below = map_anonymous(page_size);
  r.stack = true;
  const uintptr_t stack = map(r).value();
  EXPECT_GE(stack, below + page_size + 64_KiB);
  EXPECT_EQ(touch(stack - 1), fault_outcome::bad_address);
  for (int i = 0; i < 20; ++i) {
    const uintptr_t more = map_anonymous(page_size, prot_read);
    EXPECT_FALSE(more >= stack - 4096 && more < stack + 64_KiB);
  }
  EXPECT_EQ(touch(stack - 1), fault_outcome::bad_address);
}

ISOLATED_TEST(areas, break_grows_and_shrinks) {
  start(16_MiB);
  EXPECT_TRUE(add_image_area(0x400000, 0x3800, rw).ok());
  const uintptr_t base = set_break(0).value();
  EXPECT_EQ(base, 0x404000u);
  EXPECT_EQ(set_break(base + 100).value(), base + 100);
  EXPECT_EQ(touch(base), fault_outcome::resolved);
  EXPECT_EQ(set_break(base + 3 * page_size).value(), base + 3 * page_size);
  *word_at(base, true) = 7;
  EXPECT_EQ(set_break(base - 1).value(), base + 3 * page_size);
  EXPECT_EQ(set_break(base + 1).value(), base + 1);
  EXPECT_EQ(touch(base + page_size), fault_outcome::bad_address);
  EXPECT_EQ(*word_at(base, true), 7u);
  EXPECT_EQ(set_break(base + 100_GiB).value(), base + 1);
  // Another mapping in the way.
  map_anonymous(page_size, rw, base + 10 * page_size, true);
  EXPECT_EQ(set_break(base + 20 * page_size).value(), base + 1);
  EXPECT_EQ(set_break(base).value(), base);
}

ISOLATED_TEST(areas, the_loaded_image_is_not_the_allocators) {
  start(16_MiB);
  // Two pages as boot maps them, and a page of zeros behind.
  for (uintptr_t i = 0; i < 2; ++i)
    ASSERT_TRUE(
        arch::map_page(0x400000 + i * page_size, phys_addr{0x2000 + i * page_size}, page_flags)
            .ok());
  ASSERT_TRUE(add_image_area(0x400000, 3 * page_size, rw).ok());
  set_image_frames(phys_addr{0x2000}, phys_addr{0x4000});
  const uint64_t before = used();
  ASSERT_EQ(touch(0x402000), fault_outcome::resolved);
  *word_at(0x401000, true) = 5;
  ASSERT_TRUE(advise(0x400000, 3 * page_size, MADV_DONTNEED).ok());
  EXPECT_EQ(*word_at(0x401000, true), 5u);
  ASSERT_TRUE(unmap(0x400000, 3 * page_size).ok());
  EXPECT_LE(used(), before);
  EXPECT_EQ(area_usage().resident_bytes, 0u);
}

constexpr uint32_t rx = prot_read | prot_exec, rwx = rw | prot_exec;

result<void> map_with(uint32_t prot, bool stack = false) {
  mapping_request r;
  r.bytes = page_size;
  r.prot = prot;
  r.stack = stack;
  return map(r).code();
}

ISOLATED_TEST(areas, writable_or_executable) {
  start(16_MiB);
  ASSERT_TRUE(add_image_area(0x400000, page_size, rx).ok());
  ASSERT_TRUE(add_image_area(0x401000, page_size, prot_read).ok());
  ASSERT_TRUE(add_image_area(0x402000, page_size, rw).ok());
  const uintptr_t heap = 0x403000, a = map_anonymous(2 * page_size);
  ASSERT_EQ(set_break(heap + page_size).value(), heap + page_size);
  for (const char* value : {static_cast<const char*>(nullptr), "allow"}) {
    wx_option = value;
    const error refused = value ? error::none : error::acces; // no other value is kept
    EXPECT_EQ(map_with(rwx).code(), refused);
    EXPECT_EQ(map_with(prot_write | prot_exec).code(), refused);
    EXPECT_EQ(map_with(rx, true).code(), refused);
    EXPECT_EQ(map_with(rx).code(), error::none);
    EXPECT_EQ(protect(a, 2 * page_size, rwx).code(), refused);
    EXPECT_EQ(protect(a, page_size, rx).code(), error::none);
    EXPECT_EQ(protect(a, 2 * page_size, rw).code(), error::none);
    EXPECT_EQ(protect(heap, page_size, rx).code(), refused);
    EXPECT_EQ(protect(heap, page_size, rwx).code(), refused);
    EXPECT_EQ(protect(heap, page_size, rw).code(), error::none);
    // The image, whatever the option says.
    for (uint32_t prot = prot_none; prot <= rwx; ++prot) {
      const auto expect = [&](uintptr_t page, uint32_t never) {
        EXPECT_EQ(protect(page, page_size, prot).code(), prot & never ? error::acces : error::none);
      };
      expect(0x400000, prot_write);
      expect(0x401000, prot_write | prot_exec);
      expect(0x402000, prot_exec);
    }
    EXPECT_EQ(unmap(0x400000, page_size).code(), error::perm);
    EXPECT_EQ(unmap(0x3ff000, 5 * page_size).code(), error::perm);
    EXPECT_EQ(
        remap(0x401000, page_size, page_size, MREMAP_MAYMOVE | MREMAP_FIXED, 0x50000000).code(),
        error::perm);
    EXPECT_EQ(remap(a, page_size, page_size, MREMAP_MAYMOVE | MREMAP_FIXED, 0x401000).code(),
              error::perm);
    EXPECT_TRUE(is_mapped(0x400000, 0x404000));
  }
  EXPECT_EQ(warnings, 1u);
}

class test_source : public page_source {
public:
  void add_reference() override { ++references; }
  void drop_reference() override { --references; }
  result<void> read_page(uint64_t offset, void* to) override {
    if (offset >= size)
      return error::io;
    memset(to, 0, page_size);
    *static_cast<uint64_t*>(to) = offset + 1;
    return {};
  }
  int references = 1;
  uint64_t size = 100 * page_size;
};

ISOLATED_TEST(areas, file_pages_keep_their_offsets) {
  start(16_MiB);
  test_source source;
  mapping_request r;
  r.bytes = 50 * page_size;
  r.prot = rw;
  r.source = &source;
  r.offset = 60 * page_size;
  const uintptr_t a = map(r).value();
  ASSERT_TRUE(unmap(a + 10 * page_size, 5 * page_size).ok());
  ASSERT_TRUE(protect(a + 20 * page_size, page_size, prot_read).ok());
  for (int i : {0, 3, 15, 20, 21, 39}) {
    ASSERT_EQ(touch(a + i * page_size, false), fault_outcome::resolved) << i;
    EXPECT_EQ(*word_at(a + i * page_size, false), (60 + i) * page_size + 1) << i;
  }
  EXPECT_EQ(touch(a + 40 * page_size, false), fault_outcome::bus_error);
  const uintptr_t b =
      remap(a + 15 * page_size, 5 * page_size, 6 * page_size, MREMAP_MAYMOVE, 0).value();
  EXPECT_EQ(*word_at(b, false), (60 + 15) * page_size + 1);
  ASSERT_EQ(touch(b + 5 * page_size), fault_outcome::resolved);
  EXPECT_EQ(*word_at(b + 5 * page_size, false), (60 + 20) * page_size + 1);
  ASSERT_TRUE(unmap(a, 50 * page_size).ok());
  ASSERT_TRUE(unmap(b, 6 * page_size).ok());
  EXPECT_EQ(source.references, 1);
}

struct model_page {
  uint32_t prot;
  uint64_t content; // 0: never written
  int advice = 0;   // MADV_HUGEPAGE or MADV_NOHUGEPAGE
};

class machine {
public:
  explicit machine(unsigned seed) : random_(seed) {}

  void step() {
    switch (random_() % 11) {
    case 10:
      return want_large_pages();
    case 0:
      return map_somewhere();
    case 1:
      return map_fixed();
    case 2:
      return unmap_some();
    case 3:
      return protect_some();
    case 4:
      return drop_some();
    case 5:
      return move_some();
    default:
      return touch_some();
    }
  }
  void check(uintptr_t page) {
    auto p = pages_.find(page);
    EXPECT_EQ(is_mapped(page, page + page_size), p != pages_.end()) << std::hex << page;
    if (p == pages_.end()) {
      EXPECT_EQ(arch::lookup(page).flags, 0u);
      return;
    }
    const auto m = arch::lookup(page);
    if (m.flags) { // in memory: contents and permissions must be right
      const uint64_t inside = m.large ? page % large_page_size : 0;
      EXPECT_EQ(*static_cast<uint64_t*>(to_virtual(m.frame + inside)), p->second.content);
      EXPECT_EQ((m.flags & arch::page_present) != 0, p->second.prot != prot_none);
      EXPECT_EQ((m.flags & arch::page_writable) != 0, (p->second.prot & prot_write) != 0);
      EXPECT_EQ((m.flags & arch::page_no_execute) == 0, (p->second.prot & prot_exec) != 0);
    } else {
      EXPECT_EQ(p->second.content, 0u) << std::hex << page;
    }
  }
  void check_some() {
    for (int i = 0; i < 10; ++i)
      check(somewhere());
  }
  void check_all() {
    for (uintptr_t p = base; p < base + range; p += page_size)
      check(p);
  }
  void unmap_all() { EXPECT_TRUE(unmap(base, 64 * range).ok()); }

private:
  static constexpr uintptr_t base = 0x40000000;
  static constexpr size_t range = 16_MiB;

  uintptr_t somewhere() { return base + random_() % (range / page_size) * page_size; }
  size_t some_bytes() { return (1 + random_() % (random_() % 6 ? 24 : 1500)) * page_size; }
  uint32_t some_prot() {
    constexpr uint32_t all[] = {
        prot_none, prot_read, rw, rw, rw, rw | prot_exec, prot_read | prot_exec};
    return all[random_() % 7];
  }
  void set(uintptr_t at, size_t bytes, uint32_t prot) {
    for (size_t i = 0; i < bytes; i += page_size)
      pages_[at + i] = {prot, 0, 0};
  }
  void erase(uintptr_t at, size_t bytes) {
    pages_.erase(pages_.lower_bound(at), pages_.lower_bound(at + bytes));
  }
  bool free(uintptr_t at, size_t bytes) {
    auto p = pages_.lower_bound(at);
    return p == pages_.end() || p->first >= at + bytes;
  }
  bool full(uintptr_t at, size_t bytes) {
    return size_t(std::distance(pages_.lower_bound(at), pages_.lower_bound(at + bytes))) ==
           bytes / page_size;
  }
  void map_somewhere() {
    const size_t bytes = some_bytes();
    const uint32_t prot = some_prot();
    const uintptr_t a = map_anonymous(bytes, prot);
    EXPECT_TRUE(free(a, bytes));
    if (a + bytes > base + range)
      EXPECT_TRUE(unmap(a, bytes).ok()); // stay where the model looks
    else
      set(a, bytes, prot);
  }
  void map_fixed() {
    const uintptr_t a = somewhere();
    const size_t bytes = min_of(some_bytes(), base + range - a);
    const uint32_t prot = some_prot();
    mapping_request r;
    r.hint = a;
    r.bytes = bytes;
    r.prot = prot;
    r.fixed = random_() % 2;
    r.no_replace = !r.fixed;
    auto m = map(r);
    if (r.no_replace && !free(a, bytes)) {
      EXPECT_EQ(m.code(), error::exist);
      return;
    }
    ASSERT_TRUE(m.ok());
    EXPECT_EQ(m.value(), a);
    set(a, bytes, prot);
  }
  void unmap_some() {
    const uintptr_t a = somewhere();
    const size_t bytes = min_of(some_bytes(), base + range - a);
    EXPECT_TRUE(unmap(a, bytes).ok());
    erase(a, bytes);
  }
  void protect_some() {
    const uintptr_t a = somewhere();
    const size_t bytes = min_of(some_bytes(), base + range - a);
    const uint32_t prot = some_prot();
    auto r = protect(a, bytes, prot);
    EXPECT_EQ(r.ok(), full(a, bytes));
    if (r.ok())
      for (size_t i = 0; i < bytes; i += page_size)
        pages_[a + i].prot = prot;
  }
  void want_large_pages() {
    const uintptr_t a = somewhere();
    const size_t bytes = base + range - a;
    const int advice = random_() % 4 ? MADV_HUGEPAGE : MADV_NOHUGEPAGE;
    EXPECT_EQ(advise(a, bytes, advice).ok(), full(a, bytes));
    for (auto p = pages_.lower_bound(a); p != pages_.lower_bound(a + bytes); ++p)
      p->second.advice = advice;
  }
  void drop_some() {
    const uintptr_t a = somewhere();
    const size_t bytes = min_of(some_bytes(), base + range - a);
    auto r = advise(a, bytes, random_() % 2 ? MADV_DONTNEED : MADV_FREE);
    EXPECT_EQ(r.ok(), full(a, bytes));
    for (auto p = pages_.lower_bound(a); p != pages_.lower_bound(a + bytes); ++p)
      p->second.content = 0;
  }
  void move_some() {
    const uintptr_t a = somewhere();
    const size_t bytes = min_of(some_bytes(), base + range - a);
    const size_t new_bytes = some_bytes();
    const uintptr_t to = somewhere();
    const bool fixed = random_() % 2 && to + new_bytes <= base + range;
    if (!full(a, bytes))
      return;
    for (size_t i = 0; i < bytes; i += page_size)
      if (pages_[a + i].prot != pages_[a].prot || pages_[a + i].advice != pages_[a].advice)
        return; // more than one area
    auto r = remap(a, bytes, new_bytes, MREMAP_MAYMOVE | (fixed ? MREMAP_FIXED : 0), to);
    if (fixed && to < a + bytes && a < to + new_bytes) {
      EXPECT_EQ(r.code(), error::inval);
      return;
    }
    ASSERT_TRUE(r.ok());
    EXPECT_TRUE(!fixed || r.value() == to);
    std::map<uintptr_t, model_page> moved;
    for (size_t i = 0; i < new_bytes; i += page_size)
      moved[r.value() + i] =
          i < bytes ? pages_[a + i] : model_page{pages_[a].prot, 0, pages_[a].advice};
    erase(a, bytes);
    erase(r.value(), new_bytes);
    if (r.value() + new_bytes > base + range) {
      EXPECT_TRUE(unmap(r.value(), new_bytes).ok());
      return;
    }
    pages_.merge(moved);
  }
  void touch_some() {
    uintptr_t a = somewhere();
    for (unsigned n = 1 + random_() % 60; n; --n, a += page_size) {
      auto p = pages_.find(a);
      const bool write = random_() % 4;
      const bool allowed =
          p != pages_.end() && (write ? p->second.prot & prot_write : p->second.prot != 0);
      if (!word_at(a, write)) {
        const auto outcome = touch(a + random_() % page_size, write);
        EXPECT_EQ(outcome == fault_outcome::resolved, allowed);
        EXPECT_EQ(outcome == fault_outcome::bad_address, p == pages_.end());
      }
      if (!allowed)
        continue;
      ASSERT_NE(word_at(a, write), nullptr);
      EXPECT_EQ(*word_at(a, write), p->second.content);
      if (write)
        *word_at(a, write) = p->second.content = ++stamp_;
    }
  }

  std::mt19937 random_;
  std::map<uintptr_t, model_page> pages_;
  uint64_t stamp_ = 0;
};

ISOLATED_TEST(areas, random_calls_against_a_model) {
  wx_option = "allow";
  start();
  release(allocate(sizeof(void*) * 9)); // the slab and its tags stay
  const uint64_t before = used();
  for (unsigned seed = 1; seed <= 4; ++seed) {
    machine m(seed);
    for (int i = 0; i < 3000; ++i) {
      m.step();
      m.check_some();
      if (testing::Test::HasFailure())
        FAIL() << "seed " << seed << " step " << i;
    }
    m.check_all();
    m.unmap_all();
    EXPECT_EQ(area_usage().mapped_bytes, 0u);
    EXPECT_EQ(area_usage().resident_bytes, 0u);
    // All frames and tables; a slab of areas and its page of tags may stay.
    EXPECT_LE(used(), before + 4 * page_size);
  }
}

// The same calls with ever less memory: errors are fine, wrong states are not.
ISOLATED_TEST(areas, failing_at_every_allocation) {
  start(8_MiB);
  auto hoard = allocate_all(0);
  const uint64_t full = used();
  for (unsigned pages = 1; pages < 60; ++pages) {
    std::vector<uintptr_t> mapped;
    for (unsigned i = 0; i < 8; ++i) {
      mapping_request r;
      r.bytes = 3_MiB;
      r.prot = i % 2 ? rw : uint32_t{prot_read};
      auto m = map(r);
      if (!m.ok())
        continue;
      mapped.push_back(m.value());
      for (unsigned k = 0; k < 5; ++k)
        (void)touch(m.value() + k * 600_KiB, false);
      (void)protect(m.value() + 1_MiB, page_size, prot_none).ok();
      (void)unmap(m.value() + 2_MiB, page_size).ok();
      auto moved = remap(m.value(), 1_MiB, 2_MiB, MREMAP_MAYMOVE, 0);
      if (moved.ok())
        mapped.push_back(moved.value());
    }
    // Undoing needs no memory if it goes by whole areas.
    std::vector<std::pair<uintptr_t, uintptr_t>> areas;
    for_each_area([](uintptr_t s, uintptr_t e, uint32_t, const char*,
                     void* v) { static_cast<decltype(areas)*>(v)->emplace_back(s, e); },
                  &areas);
    for (auto [s, e] : areas)
      EXPECT_TRUE(unmap(s, e - s).ok());
    EXPECT_EQ(area_usage().resident_bytes, 0u);
    EXPECT_EQ(area_usage().mapped_bytes, 0u);
    EXPECT_LE(used(), full - (pages - 1) * page_size + 4 * page_size);
    free_frames(hoard.back(), 0);
    hoard.pop_back();
  }
}

} // namespace
