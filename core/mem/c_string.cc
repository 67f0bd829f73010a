// The C string functions that lwIP and the kernel use; given kernel-only names in the archive, like
// the memcpy family in core/mem/string.cc.
#include <stddef.h>

extern "C" size_t strnlen(const char* s, size_t limit) {
  size_t n = 0;
  while (n < limit && s[n])
    ++n;
  return n;
}

extern "C" int strncmp(const char* a, const char* b, size_t limit) {
  for (size_t i = 0; i < limit; ++i) {
    const auto x = static_cast<unsigned char>(a[i]), y = static_cast<unsigned char>(b[i]);
    if (x != y)
      return x - y;
    if (!x)
      break;
  }
  return 0;
}

// Digits after an optional sign; what follows them is ignored, too large numbers saturate.
extern "C" int atoi(const char* s) {
  while (*s == ' ')
    ++s;
  const bool negative = *s == '-';
  if (*s == '-' || *s == '+')
    ++s;
  long value = 0;
  constexpr long limit = 0x7fffffff;
  for (; *s >= '0' && *s <= '9'; ++s)
    if ((value = value * 10 + (*s - '0')) > limit)
      value = limit;
  return static_cast<int>(negative ? -value : value);
}
