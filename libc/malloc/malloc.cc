// malloc and its relatives over the threads' caches. The usual call takes or puts one object at the
// head of a list that belongs to the thread: some fifteen instructions, no lock.
#include "libc/malloc/classes.hh"
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

namespace oblako::allocator {

// The usual table. Weak: dense.cc has another one.
namespace {
constexpr class_table usual_classes = make_classes(16);
static_assert(usual_classes.count <= max_classes);
static_assert(header_pages <= 8);
} // namespace
[[gnu::weak]] extern const class_table oblako_malloc_classes = usual_classes;

namespace {

struct bin {
  void* list;
  uint32_t count, limit; // limit 0: frees of this kind take the slow path
};
static_assert(sizeof(bin) == bin_bytes && offsetof(bin, count) == 8 && offsetof(bin, limit) == 12);

// The thread's cache. It begins with every bin full and empty at once (limit and count are 0), so
// that the thread's first call goes the slow way, which sets the limits.
constinit thread_local bin bins[bin_count] [[gnu::tls_model("local-exec"),
                                             gnu::used]] asm("oblako_malloc_bins") = {};

// A bin at its offset in bytes, addressed through %fs as the compiler would not: it takes the
// thread's address into a register first, at every call.
struct own_bin {
  size_t offset;

  void* list() const {
    void* value;
    asm volatile("movq %%fs:oblako_malloc_bins@tpoff(%1), %0" : "=r"(value) : "r"(offset));
    return value;
  }
  void set_list(void* value) const {
    asm volatile("movq %0, %%fs:oblako_malloc_bins@tpoff(%1)" ::"r"(value), "r"(offset) : "memory");
  }
  void count_one_less() const {
    asm volatile("decl %%fs:oblako_malloc_bins@tpoff+8(%0)" ::"r"(offset) : "memory", "cc");
  }
  void count_one_more() const {
    asm volatile("incl %%fs:oblako_malloc_bins@tpoff+8(%0)" ::"r"(offset) : "memory", "cc");
  }
  bool full() const {
    uint32_t count;
    asm volatile("movl %%fs:oblako_malloc_bins@tpoff+8(%1), %0" : "=r"(count) : "r"(offset));
    bool full;
    asm volatile("cmpl %%fs:oblako_malloc_bins@tpoff+12(%2), %1"
                 : "=@ccae"(full)
                 : "r"(count), "r"(offset));
    return full;
  }
};

volatile int lock_word[1];

} // namespace

extern "C" {
[[gnu::visibility("hidden")]] void __lock(volatile int*);
[[gnu::visibility("hidden")]] void __unlock(volatile int*);
}

guard::guard() {
  __lock(lock_word);
}
guard::~guard() {
  __unlock(lock_word);
}

namespace {

inline unsigned class_for(size_t bytes) {
  if (bytes <= fine_limit) [[likely]]
    return oblako_malloc_classes.bin_of_fine[bytes] / bin_bytes;
  return oblako_malloc_classes.of_coarse[(bytes + 255) / 256];
}

// Opens the thread's cache, unless the thread is ending.
void prepare() {
  if (bins[1].limit)
    return;
  for (unsigned i = 1; i < oblako_malloc_classes.count; ++i)
    bins[i].limit = oblako_malloc_classes.cached[i];
}

void* fail() {
  errno = ENOMEM;
  return nullptr;
}

// For a thread whose bin is empty: half a bin full at once.
[[gnu::noinline]] void* refill(unsigned size_class) {
  guard g;
  prepare();
  bin& b = bins[size_class];
  void* list = nullptr;
  const unsigned got = take_objects(size_class, (b.limit + 1) / 2, list);
  if (!got)
    return fail();
  b.list = *static_cast<void**>(list);
  b.count = got - 1;
  return list;
}

// Returns the older half of a full bin, then puts the object in.
[[gnu::noinline]] void spill(unsigned size_class, void* object) {
  guard g;
  prepare();
  bin& b = bins[size_class];
  if (b.count >= b.limit) {
    const unsigned keep = b.limit / 2;
    void* last = b.list;
    for (unsigned i = 1; i < keep; ++i)
      last = *static_cast<void**>(last);
    void* rest = *static_cast<void**>(last);
    *static_cast<void**>(last) = nullptr;
    give_objects(rest, b.count - keep);
    b.count = keep;
  }
  *static_cast<void**>(object) = b.list;
  b.list = object;
  ++b.count;
}

unsigned pages_for(size_t bytes) {
  return static_cast<unsigned>(align_up(bytes, page_size) / page_size);
}

// Above the classes. `zeroed`: the memory is known to be zero.
void* allocate_large(size_t bytes, size_t alignment, bool& zeroed) {
  zeroed = true;
  if (bytes > largest_run || alignment > largest_run) {
    void* p = alignment >= region_size ? allocate_far_aligned(bytes, alignment)
                                       : allocate_mapping(bytes, alignment);
    return p ? p : fail();
  }
  guard g;
  run* r = take_run(pages_for(bytes ? bytes : 1), alignment, zeroed);
  if (!r)
    return fail();
  region* owner = region_of(r);
  r->size_class = kind_run;
  owner->kind[r - owner->runs] = kind_run;
  return address_of(r);
}

[[gnu::noinline]] void* malloc_large(size_t bytes) {
  bool zeroed;
  return allocate_large(bytes, page_size, zeroed);
}

[[gnu::noinline]] void free_slow(void* p) {
  if (!p)
    return;
  if (on_region_border(p)) {
    if (!release_far_aligned(p))
      misused();
    return;
  }
  region* g = region_of(p);
  const uint8_t kind = g->kind[page_of(p)];
  if (kind == kind_mapping)
    return release_mapping(g);
  if (kind == kind_run) {
    guard lock;
    return give_run(&g->runs[page_of(p)]);
  }
  if (kind == 0)
    misused();
  spill(kind, p);
}

[[gnu::noinline]] size_t capacity_of(const void* p) {
  if (on_region_border(p)) {
    const size_t n = far_aligned_capacity(p);
    return n ? n : (misused(), 0);
  }
  const region* g = region_of(p);
  const uint8_t kind = g->kind[page_of(p)];
  if (kind == kind_mapping)
    return mapping_capacity(g);
  if (kind == kind_run)
    return g->runs[page_of(p)].pages * page_size;
  if (kind == 0)
    misused();
  return oblako_malloc_classes.size[kind];
}

// Grows or shrinks where it lies (or, for a mapping, by moving pages). nullptr: it has to be
// copied.
void* resize(void* p, size_t bytes) {
  if (on_region_border(p))
    return nullptr;
  region* g = region_of(p);
  const uint8_t kind = g->kind[page_of(p)];
  if (kind == kind_mapping)
    return bytes > largest_run ? resize_mapping(g, bytes) : nullptr;
  if (kind == kind_run) {
    if (bytes <= largest_small || bytes > largest_run)
      return nullptr;
    guard lock;
    return resize_run(&g->runs[page_of(p)], pages_for(bytes)) ? p : nullptr;
  }
  if (kind == 0)
    misused();
  return bytes <= largest_small && class_for(bytes) == kind ? p : nullptr;
}

// From the bin at an offset in bytes: the fast path multiplies nothing.
inline void* take_at(size_t offset) {
  const own_bin b{offset};
  void* object = b.list();
  if (!object) [[unlikely]]
    return refill(static_cast<unsigned>(offset / bin_bytes));
  b.set_list(*static_cast<void**>(object));
  b.count_one_less();
  return object;
}

inline void* allocate_small(size_t bytes) {
  if (bytes <= fine_limit)
    return take_at(oblako_malloc_classes.bin_of_fine[bytes]);
  return take_at(size_t{oblako_malloc_classes.of_coarse[(bytes + 255) / 256]} * bin_bytes);
}

[[gnu::noinline]] void* malloc_beyond_fine(size_t bytes) {
  return bytes <= largest_small ? allocate_small(bytes) : malloc_large(bytes);
}

void* allocate_aligned(size_t alignment, size_t bytes) {
  // Slabs begin on a page: in a class whose size is a multiple of the alignment all objects have
  // it.
  if (alignment <= page_size && bytes <= largest_small) {
    for (unsigned c = class_for(bytes); c < oblako_malloc_classes.count; ++c)
      if (oblako_malloc_classes.size[c] % alignment == 0)
        return allocate_small(oblako_malloc_classes.size[c]);
  }
  bool zeroed;
  return allocate_large(bytes, alignment < page_size ? page_size : alignment, zeroed);
}

// For an object that what holds it does not fit any more: `old` bytes.
void* move_object(void* p, size_t old, size_t bytes) {
  void* moved = malloc(bytes);
  if (!moved) [[unlikely]]
    return nullptr;
  memcpy(moved, p, old < bytes ? old : bytes);
  free(p);
  return moved;
}

[[gnu::noinline]] void* reallocate_other(void* p, size_t bytes) {
  if (!p)
    return malloc(bytes);
  if (void* same = resize(p, bytes))
    return same;
  return move_object(p, capacity_of(p), bytes);
}

} // namespace
} // namespace oblako::allocator

using namespace oblako::allocator;

extern "C" {

void* malloc(size_t bytes) {
  return bytes <= fine_limit ? allocate_small(bytes) : malloc_beyond_fine(bytes);
}

void free(void* p) {
  const unsigned page = page_of(p);
  if (page == 0) [[unlikely]] // nullptr too
    return free_slow(p);
  const own_bin b{size_t{region_of(p)->kind[page]} * bin_bytes};
  if (b.full()) [[unlikely]]
    return free_slow(p);
  *static_cast<void**>(p) = b.list();
  b.set_list(p);
  b.count_one_more();
}

void* calloc(size_t count, size_t size) {
  size_t bytes;
  if (__builtin_mul_overflow(count, size, &bytes))
    return fail();
  if (bytes > largest_small) {
    bool zeroed;
    void* p = allocate_large(bytes, page_size, zeroed);
    return p && !zeroed ? memset(p, 0, bytes) : p;
  }
  void* p = allocate_small(bytes);
  return p ? memset(p, 0, bytes) : nullptr;
}

void* realloc(void* p, size_t bytes) {
  // From a small object to a small one. No class is at offset 0.
  const unsigned page = page_of(p);
  if (page != 0 && bytes <= fine_limit) [[likely]] {
    const unsigned kind = region_of(p)->kind[page];
    if (oblako_malloc_classes.bin_of_fine[bytes] == kind * bin_bytes)
      return p;
    if (const size_t old = oblako_malloc_classes.size[kind]) [[likely]]
      return move_object(p, old, bytes);
  }
  return reallocate_other(p, bytes);
}

size_t malloc_usable_size(void* p) {
  const unsigned page = page_of(p);
  if (page != 0) [[likely]]
    if (const size_t size = oblako_malloc_classes.size[region_of(p)->kind[page]]) [[likely]]
      return size;
  return p ? capacity_of(p) : 0;
}

void* aligned_alloc(size_t alignment, size_t bytes) {
  if (!alignment || (alignment & (alignment - 1))) {
    errno = EINVAL;
    return nullptr;
  }
  return allocate_aligned(alignment, bytes);
}

void* memalign(size_t alignment, size_t bytes) {
  return aligned_alloc(alignment, bytes);
}

int posix_memalign(void** out, size_t alignment, size_t bytes) {
  if (alignment < sizeof(void*) || (alignment & (alignment - 1)))
    return EINVAL;
  const int saved = errno; // POSIX: the result says it all
  void* p = allocate_aligned(alignment, bytes);
  if (!p) {
    errno = saved;
    return ENOMEM;
  }
  *out = p;
  return 0;
}

// The names by which musl's own files allocate, so that none of its allocator is linked.
#define TEXT_OF(name) #name
#define SAME_AS(name) __attribute__((alias(TEXT_OF(name)), copy(name)))
void* __libc_malloc(size_t) SAME_AS(malloc);
void* __libc_malloc_impl(size_t) SAME_AS(malloc);
void* __libc_calloc(size_t, size_t) SAME_AS(calloc);
void* __libc_realloc(void*, size_t) SAME_AS(realloc);
void __libc_free(void*) SAME_AS(free);

// musl's fork calls this: -1 before, 0 after in the parent, 1 after in the child.
void __malloc_atfork(int who) {
  if (who < 0)
    __lock(lock_word);
  else if (who == 0)
    __unlock(lock_word);
  else
    lock_word[0] = 0;
}

// Called as a thread's last act before its stack, where the cache lies, goes.
void __malloc_thread_exit() {
  guard g;
  for (unsigned i = 1; i < oblako_malloc_classes.count; ++i) {
    give_objects(bins[i].list, bins[i].count);
    bins[i] = {};
  }
}
}
