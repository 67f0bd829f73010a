// Size classes in steps of 8 bytes for small objects: 24, 40 and 56 exist and are aligned to 8
// only. C asks for 16 there; applications that never keep 16-byte-aligned types in such blocks
// (redis, which runs on jemalloc built the same way) may be linked with this table: it replaces the
// usual one when the image link is told to need the symbol below (ALLOCATOR dense in a recipe).
#include "libc/malloc/classes.hh"

namespace oblako::allocator {
constexpr class_table dense_classes = make_classes(8);
static_assert(dense_classes.count <= max_classes);
extern const class_table oblako_malloc_classes = dense_classes;
} // namespace oblako::allocator

extern "C" const char oblako_malloc_dense = 1;
