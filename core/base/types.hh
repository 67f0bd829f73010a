// Vocabulary types that keep the kinds of address apart, sizes, and the handful of helpers every
// layer uses. No globals, no assembly: compiles on the host.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace oblako {

// A guest-physical address. Units: bytes.
enum class phys_addr : uint64_t {};
// An address as a device sees it (what goes into a descriptor). Equal to phys_addr today; the type
// exists so that an IOMMU would have one place to translate.
enum class device_addr : uint64_t {};

constexpr uint64_t raw(phys_addr a) {
  return static_cast<uint64_t>(a);
}
constexpr uint64_t raw(device_addr a) {
  return static_cast<uint64_t>(a);
}
constexpr phys_addr operator+(phys_addr a, uint64_t n) {
  return phys_addr{raw(a) + n};
}
constexpr uint64_t operator-(phys_addr a, phys_addr b) {
  return raw(a) - raw(b);
}

constexpr size_t page_shift = 12;
constexpr size_t page_size = size_t{1} << page_shift;
constexpr size_t large_page_size = size_t{2} << 20;

constexpr size_t operator""_KiB(unsigned long long n) {
  return n << 10;
}
constexpr size_t operator""_MiB(unsigned long long n) {
  return n << 20;
}
constexpr size_t operator""_GiB(unsigned long long n) {
  return n << 30;
}

// Alignment must be a power of two.
constexpr uint64_t align_up(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) & ~(alignment - 1);
}
constexpr uint64_t align_down(uint64_t value, uint64_t alignment) {
  return value & ~(alignment - 1);
}
template <class T>
constexpr T min_of(T a, T b) {
  return b < a ? b : a;
}
template <class T>
constexpr T max_of(T a, T b) {
  return a < b ? b : a;
}

// The object that holds `member`, given the member's address.
template <class Owner, class Member>
inline Owner* owner_of(Member* member, Member Owner::*field) {
  const auto offset = reinterpret_cast<uintptr_t>(&(static_cast<Owner*>(nullptr)->*field));
  return reinterpret_cast<Owner*>(reinterpret_cast<uintptr_t>(member) - offset);
}

class noncopyable {
public:
  noncopyable() = default;
  noncopyable(const noncopyable&) = delete;
  noncopyable& operator=(const noncopyable&) = delete;
};

} // namespace oblako
