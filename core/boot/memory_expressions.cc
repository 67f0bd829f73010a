// Expands parts of memory in texts of the image. What the kernel gets has been checked by the image
// build (scripts/memory_expressions.py), which also left room for the numbers.
#include "core/boot/memory_expressions.hh"
#include "core/mem/frames.hh"

namespace oblako::boot {
namespace {

constexpr char opening[] = "{memory";

bool skip_text(const char*& from, const char* text) {
  const char* p = from;
  for (; *text; ++p, ++text)
    if (*p != *text)
      return false;
  from = p;
  return true;
}

// Digits, and perhaps one of the suffixes k, M, G.
uint64_t number(const char*& from) {
  uint64_t value = 0;
  for (; *from >= '0' && *from <= '9'; ++from)
    value = value * 10 + static_cast<unsigned>(*from - '0');
  if (skip_text(from, "k"))
    return value << 10;
  if (skip_text(from, "M"))
    return value << 20;
  if (skip_text(from, "G"))
    return value << 30;
  return value;
}

// What stands behind `{memory`, up to the closing brace, which is passed too.
uint64_t value_of(const char*& from, uint64_t memory) {
  uint64_t value = memory;
  if (skip_text(from, "*"))
    value *= number(from);
  if (skip_text(from, "/"))
    value /= max_of<uint64_t>(number(from), 1);
  if (skip_text(from, ":"))
    value = max_of(value, number(from));
  if (skip_text(from, ":"))
    value = min_of(value, number(from));
  while (*from && *from++ != '}')
    ;
  return value;
}

char* write_number(char* to, uint64_t value) {
  char digits[20];
  unsigned count = 0;
  do
    digits[count++] = static_cast<char>('0' + value % 10);
  while (value /= 10);
  while (count)
    *to++ = digits[--count];
  return to;
}

} // namespace

size_t expand_memory_expressions(char* text, uint64_t memory) {
  char* to = text;
  for (const char* from = text; *from;) {
    if (skip_text(from, opening))
      to = write_number(to, value_of(from, memory));
    else
      *to++ = *from++;
  }
  *to = 0;
  return static_cast<size_t>(to - text);
}

} // namespace oblako::boot

extern "C" size_t oblako_expand_memory(char* text) {
  static uint64_t memory;
  if (memory == 0)
    memory = oblako::mem::frame_usage().free_bytes;
  return oblako::boot::expand_memory_expressions(text, memory);
}
