// memmove: like memcpy where the areas do not overlap; otherwise block by block from the safe end.
#include "libc/string/copy.h"

enum { rep_from = 512 };

static void forwards(unsigned char* to, const unsigned char* from, size_t n) {
  const block last = load(from + n - 16);
  unsigned char* const end = to + n;
  for (; to < end - 16; to += 16, from += 16)
    store(to, load(from));
  store(end - 16, last);
}

static void backwards(unsigned char* to, const unsigned char* from, size_t n) {
  const block first = load(from);
  for (size_t left = n; left > 16; left -= 16)
    store(to + left - 16, load(from + left - 16));
  store(to, first);
}

void* memmove(void* target, const void* source, size_t n) {
  unsigned char* to = target;
  const unsigned char* from = source;
  const uintptr_t ahead = (uintptr_t)to - (uintptr_t)from; // huge if the target lies below
  if (n <= 16)
    copy_up_to_16(to, from, n);
  else if (n <= 64)
    copy_17_to_64(to, from, n);
  else if (ahead < n)
    backwards(to, from, n);
  else if (n < rep_from || -ahead < n) // close behind each other string moves are slow
    forwards(to, from, n);
  else
    copy_long_forwards(to, from, n);
  return target;
}
