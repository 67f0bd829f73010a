// Builds a table of size classes at compile time: steps of `quantum` up to 8 quanta of 16, then
// four classes to each doubling.
#pragma once

#include "libc/malloc/internal.hh"

namespace oblako::allocator {

// Slabs waste at most 1/32 behind the last object, and hold at least four.
constexpr unsigned slab_pages_for(unsigned size) {
  unsigned pages = 1;
  while (pages * page_size < 4 * size || (pages * page_size) % size > pages * page_size / 32)
    ++pages;
  return pages;
}

constexpr class_table make_classes(unsigned quantum) {
  class_table t{};
  unsigned n = 1;
  auto add = [&](unsigned size) {
    t.size[n] = static_cast<uint16_t>(size);
    t.slab_pages[n] = static_cast<uint8_t>(slab_pages_for(size));
    const unsigned fit = 8192 / size;
    t.cached[n] = static_cast<uint8_t>(fit < 2 ? 2 : fit > 128 ? 128 : fit);
    ++n;
  };
  for (unsigned size = quantum; size < 64; size += quantum)
    add(size);
  for (unsigned size = 64; size <= 128; size += 16)
    add(size);
  for (unsigned base = 128; base < largest_small; base *= 2)
    for (unsigned step = 1; step <= 4; ++step)
      add(base + base / 4 * step);
  t.count = static_cast<uint8_t>(n);
  auto class_for = [&](unsigned size) {
    unsigned c = 1;
    while (t.size[c] < size)
      ++c;
    return static_cast<uint8_t>(c);
  };
  for (unsigned c = 1, bytes = 0; bytes <= fine_limit; ++bytes) {
    c += bytes > t.size[c];
    t.bin_of_fine[bytes] = static_cast<uint16_t>(c * bin_bytes);
  }
  for (unsigned i = 0; i <= largest_small / 256; ++i)
    t.of_coarse[i] = class_for(i * 256);
  return t;
}

} // namespace oblako::allocator
