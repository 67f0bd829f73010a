// Decompression of the packed root's files by zlib's inflate, page by page.
#include "core/base/types.hh"
#include "core/fs/packed_root.hh"
#include "core/mem/heap.hh"
// The kernel's copy of zlib carries a prefix: an application may bring its own.
#define Z_PREFIX
#include <zlib.h>

using namespace oblako;

namespace {

void* allocate(void*, unsigned items, unsigned size) {
  return mem::allocate(size_t{items} * size);
}
void release(void*, void* memory) {
  mem::release(memory);
}

// avail_in is 32 bits wide: the input is handed over in pieces.
constexpr size_t input_piece = size_t{1} << 30;

struct progress {
  const uint8_t* from;
  size_t from_left;
  size_t to_left;
  uint8_t* (*next_page)(void*);
  void* argument;
};

// Gives the stream input and, where the last page is full, the next one. False: no page.
bool supply(z_stream& z, progress& p) {
  if (z.avail_in == 0 && p.from_left) {
    const size_t n = min_of(p.from_left, input_piece);
    z.next_in = const_cast<uint8_t*>(p.from);
    z.avail_in = static_cast<unsigned>(n);
    p.from += n;
    p.from_left -= n;
  }
  if (z.avail_out == 0 && p.to_left) {
    z.next_out = p.next_page(p.argument);
    if (!z.next_out)
      return false;
    z.avail_out = static_cast<unsigned>(min_of(p.to_left, page_size));
    p.to_left -= z.avail_out;
  }
  return true;
}

// True if the stream ended exactly where the result does.
bool run(z_stream& z, progress& p) {
  for (;;) {
    if (!supply(z, p))
      return false;
    const int status = inflate(&z, Z_NO_FLUSH);
    if (status == Z_STREAM_END)
      return z.avail_out == 0 && p.to_left == 0;
    // With all the room used up only the stream's end may be missing; without progress it is torn.
    if (status != Z_OK)
      return false;
  }
}

} // namespace

extern "C" bool oblako_inflate(const uint8_t* from, size_t from_size, size_t to_size,
                               uint8_t* (*next_page)(void*), void* argument) {
  z_stream z{};
  z.zalloc = allocate;
  z.zfree = release;
  if (inflateInit(&z) != Z_OK)
    return false;
  progress p{from, from_size, to_size, next_page, argument};
  const bool whole = run(z, p);
  inflateEnd(&z);
  return whole;
}
