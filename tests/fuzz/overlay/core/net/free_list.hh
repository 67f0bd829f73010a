// In the fuzzer's build memory given back is freed, so that ASan knows of every use after that.
#pragma once

#include "core/base/types.hh"
#include "core/mem/heap.hh"

namespace oblako::net {

class free_list {
public:
  constexpr free_list(uint16_t size, uint16_t) : size_(size) {}
  void* take() { return mem::allocate_buffer(size_); }
  void give(void* memory) { mem::release(memory); }
  uint16_t size() const { return size_; }

private:
  const uint16_t size_;
};

} // namespace oblako::net
