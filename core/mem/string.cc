// The kernel's own memcpy family: the compiler emits calls to these names, and the application's
// libc is out of reach (the build gives these names a prefix of the kernel's). Written with string
// instructions and plain moves, which the compiler cannot turn back into calls to themselves.
#include <stddef.h>
#include <stdint.h>

#ifdef OBLAKO_HOST_TEST
#define KERNEL_NAME(name) kernel_##name
#else
#define KERNEL_NAME(name) name
#endif

namespace {

template <class T>
struct [[gnu::packed, gnu::may_alias]] unaligned {
  T value;
};
template <class T>
T load(const void* from) {
  return static_cast<const unaligned<T>*>(from)->value;
}
template <class T>
void store(void* to, T value) {
  static_cast<unaligned<T>*>(to)->value = value;
}
const uint8_t* at(const void* p, size_t offset) {
  return static_cast<const uint8_t*>(p) + offset;
}
uint8_t* at(void* p, size_t offset) {
  return static_cast<uint8_t*>(p) + offset;
}

// Copies up to 32 bytes with all loads before all stores: right for overlapping memory too.
inline void copy_small(void* to, const void* from, size_t n) {
  if (n > 16) {
    const auto a = load<uint64_t>(from), b = load<uint64_t>(at(from, 8));
    const auto c = load<uint64_t>(at(from, n - 16)), d = load<uint64_t>(at(from, n - 8));
    store(to, a);
    store(at(to, 8), b);
    store(at(to, n - 16), c);
    store(at(to, n - 8), d);
  } else if (n >= 8) {
    const auto a = load<uint64_t>(from), b = load<uint64_t>(at(from, n - 8));
    store(to, a);
    store(at(to, n - 8), b);
  } else if (n >= 4) {
    const auto a = load<uint32_t>(from), b = load<uint32_t>(at(from, n - 4));
    store(to, a);
    store(at(to, n - 4), b);
  } else if (n) {
    const uint8_t a = *at(from, 0), b = *at(from, n / 2), c = *at(from, n - 1);
    *at(to, 0) = a;
    *at(to, n / 2) = b;
    *at(to, n - 1) = c;
  }
}

inline void copy_forward(void* to, const void* from, size_t n) {
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n)::"memory");
}

} // namespace

extern "C" {

void* KERNEL_NAME(memcpy)(void* __restrict to, const void* __restrict from, size_t n) {
  if (n <= 32) [[likely]]
    copy_small(to, from, n);
  else
    copy_forward(to, from, n);
  return to;
}

void* KERNEL_NAME(memmove)(void* to, const void* from, size_t n) {
  if (n <= 32) [[likely]] {
    copy_small(to, from, n);
  } else if (reinterpret_cast<uintptr_t>(to) - reinterpret_cast<uintptr_t>(from) >= n) {
    copy_forward(to, from, n);
  } else {
    // Backward by words: `std; rep movs` is slow on every CPU.
    while (n >= 8) {
      n -= 8;
      store(at(to, n), load<uint64_t>(at(from, n)));
    }
    copy_small(to, from, n);
  }
  return to;
}

void* KERNEL_NAME(memset)(void* to, int byte, size_t n) {
  const uint64_t pattern = static_cast<uint8_t>(byte) * 0x0101010101010101u;
  if (n > 32) {
    void* end = to;
    asm volatile("rep stosb" : "+D"(end), "+c"(n) : "a"(pattern) : "memory");
  } else if (n >= 8) {
    for (size_t i = 0; i + 8 < n; i += 8)
      store(at(to, i), pattern);
    store(at(to, n - 8), pattern);
  } else if (n >= 4) {
    store(to, static_cast<uint32_t>(pattern));
    store(at(to, n - 4), static_cast<uint32_t>(pattern));
  } else if (n) {
    *at(to, 0) = *at(to, n / 2) = *at(to, n - 1) = static_cast<uint8_t>(byte);
  }
  return to;
}

int KERNEL_NAME(memcmp)(const void* a, const void* b, size_t n) {
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const auto x = load<uint64_t>(at(a, i)), y = load<uint64_t>(at(b, i));
    if (x != y)
      return __builtin_bswap64(x) < __builtin_bswap64(y) ? -1 : 1;
  }
  for (; i < n; ++i)
    if (*at(a, i) != *at(b, i))
      return *at(a, i) - *at(b, i);
  return 0;
}

[[gnu::optimize("no-tree-loop-distribute-patterns")]] size_t KERNEL_NAME(strlen)(const char* s) {
  const char* end = s;
  while (*end)
    ++end;
  return static_cast<size_t>(end - s);
}
}
