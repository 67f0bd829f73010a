// Device registers by type: a register knows its width, so that it cannot be read at the wrong
// size. The space is mapped uncached, which on x86 keeps accesses in program order.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace oblako {

template <class T>
struct mmio_register {
  uint32_t offset;
};

class mmio_space {
public:
  mmio_space() = default;
  explicit mmio_space(volatile void* base) : base_(static_cast<volatile uint8_t*>(base)) {}

  template <class T>
  T load(mmio_register<T> r) const {
    return *reinterpret_cast<const volatile T*>(base_ + r.offset);
  }
  template <class T>
  void store(mmio_register<T> r, T value) const {
    *reinterpret_cast<volatile T*>(base_ + r.offset) = value;
  }
  volatile uint8_t* base() const { return base_; }
  explicit operator bool() const { return base_ != nullptr; }

private:
  volatile uint8_t* base_ = nullptr;
};

} // namespace oblako
