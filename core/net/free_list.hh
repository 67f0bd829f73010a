// A list of free pieces of memory of one size in front of the kernel heap, for what every packet
// takes and gives back. Not locked: the stack's lock guards its users.
#pragma once

#include "core/base/types.hh"
#include "core/mem/heap.hh"

namespace oblako::net {

class free_list {
public:
  // Keeps at most `limit` pieces.
  constexpr free_list(uint16_t size, uint16_t limit) : size_(size), limit_(limit) {}

  // nullptr: out of memory.
  void* take() {
    if (!first_) [[unlikely]]
      return mem::allocate_buffer(size_);
    item* i = first_;
    first_ = i->next;
    --count_;
    return i;
  }
  void give(void* memory) {
    if (count_ == limit_) [[unlikely]]
      return mem::release_sized(memory, size_);
    auto* i = static_cast<item*>(memory);
    i->next = first_;
    first_ = i;
    ++count_;
  }
  // Gives all there are back to the heap.
  void drop_all() {
    while (item* i = first_) {
      first_ = i->next;
      mem::release_sized(i, size_);
    }
    count_ = 0;
  }
  uint16_t size() const { return size_; }

private:
  struct item {
    item* next;
  };
  item* first_ = nullptr;
  uint16_t count_ = 0;
  const uint16_t size_, limit_;
};

} // namespace oblako::net
