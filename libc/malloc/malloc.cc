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
struct cache {
  bin bins[bin_count];
};

// Every thread begins with the empty cache, which is full and empty at once: its first call goes
// the slow way and gets the thread a cache of its own. The main thread's is static.
constinit cache empty_cache{};
constinit cache main_cache{};
constinit thread_local cache* my_cache [[gnu::tls_model("local-exec")]] = &empty_cache;

volatile int lock_word[1];
bool main_cache_taken; // under the lock

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
    return oblako_malloc_classes.of_fine[(bytes + 7) / 8];
  return oblako_malloc_classes.of_coarse[(bytes + 255) / 256];
}

void prepare(cache* c) {
  for (unsigned i = 1; i < oblako_malloc_classes.count; ++i)
    c->bins[i].limit = oblako_malloc_classes.cached[i];
}

// The thread's cache, made if need be; the empty one if there is no memory for it. Under the lock.
cache* own_cache() {
  if (my_cache != &empty_cache)
    return my_cache;
  cache* c = &main_cache;
  if (main_cache_taken) {
    void* memory = nullptr;
    if (!take_objects(class_for(sizeof(cache)), 1, memory))
      return &empty_cache;
    c = static_cast<cache*>(memory);
    memset(c, 0, sizeof *c);
  }
  main_cache_taken = true;
  prepare(c);
  return my_cache = c;
}

void* fail() {
  errno = ENOMEM;
  return nullptr;
}

// From a cache whose bin is empty: half a bin full at once.
[[gnu::noinline]] void* refill(unsigned size_class) {
  guard g;
  cache* c = own_cache();
  bin& b = c->bins[size_class];
  const unsigned wanted = c == &empty_cache ? 1 : (b.limit + 1) / 2;
  void* list = nullptr;
  const unsigned got = take_objects(size_class, wanted, list);
  if (!got)
    return fail();
  // The empty cache stays empty: got is 1 there.
  if (got > 1) {
    b.list = *static_cast<void**>(list);
    b.count = got - 1;
  }
  return list;
}

// Returns the older half of a full bin, then puts the object in.
[[gnu::noinline]] void spill(unsigned size_class, void* object) {
  guard g;
  cache* c = own_cache();
  bin& b = c->bins[size_class];
  if (b.count >= b.limit) {
    if (c == &empty_cache) {
      *static_cast<void**>(object) = nullptr;
      return give_objects(object, 1);
    }
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

inline void* allocate_small(size_t bytes) {
  const unsigned c = class_for(bytes);
  bin& b = my_cache->bins[c];
  void* object = b.list;
  if (!object) [[unlikely]]
    return refill(c);
  b.list = *static_cast<void**>(object);
  --b.count;
  return object;
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

} // namespace
} // namespace oblako::allocator

using namespace oblako::allocator;

extern "C" {

void* malloc(size_t bytes) {
  return bytes <= largest_small ? allocate_small(bytes) : malloc_large(bytes);
}

void free(void* p) {
  const unsigned page = page_of(p);
  if (page == 0) [[unlikely]] // nullptr too
    return free_slow(p);
  bin& b = my_cache->bins[region_of(p)->kind[page]];
  if (b.count >= b.limit) [[unlikely]]
    return free_slow(p);
  *static_cast<void**>(p) = b.list;
  b.list = p;
  ++b.count;
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
  if (!p)
    return malloc(bytes);
  if (void* same = resize(p, bytes))
    return same;
  void* moved = malloc(bytes);
  if (!moved)
    return nullptr;
  const size_t old = capacity_of(p);
  memcpy(moved, p, old < bytes ? old : bytes);
  free(p);
  return moved;
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

// Called as a thread's last act before its stack goes.
void __malloc_thread_exit() {
  cache* c = my_cache;
  if (c == &empty_cache)
    return;
  my_cache = &empty_cache;
  guard g;
  for (unsigned i = 1; i < oblako_malloc_classes.count; ++i) {
    give_objects(c->bins[i].list, c->bins[i].count);
    c->bins[i] = {};
  }
  if (c == &main_cache) {
    main_cache_taken = false;
    return;
  }
  *reinterpret_cast<void**>(c) = nullptr;
  give_objects(c, 1);
}
}
