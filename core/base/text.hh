// A borrowed piece of text: what std::string_view would be, without what its header brings along.
#pragma once

#include <stddef.h>

namespace oblako {

struct text {
  const char* data = "";
  size_t size = 0;

  constexpr text() = default;
  constexpr text(const char* d, size_t n) : data(d), size(n) {}
  constexpr text(const char* zero_terminated)
      : data(zero_terminated), size(__builtin_strlen(zero_terminated)) {}

  // Less than, equal to, greater than 0, in byte order.
  int compare(text o) const {
    const size_t n = size < o.size ? size : o.size;
    const int c = n ? __builtin_memcmp(data, o.data, n) : 0;
    return c ? c : size < o.size ? -1 : size > o.size;
  }
  bool operator==(text o) const {
    return size == o.size && __builtin_memcmp(data, o.data, size) == 0;
  }
  bool operator<(text o) const { return compare(o) < 0; }
  bool starts_with(text o) const {
    return size >= o.size && __builtin_memcmp(data, o.data, o.size) == 0;
  }
  text from(size_t position) const { return {data + position, size - position}; }
};

} // namespace oblako
