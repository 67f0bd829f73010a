// late<T>: storage for a global that is constructed when its subsystem starts, because the kernel
// has no static constructors (Boost.Intrusive containers are not constexpr-constructible).
#pragma once

#include <new>
#include <utility>

namespace oblako {

template <class T>
class late {
public:
  constexpr late() = default;
  template <class... Args>
  T& construct(Args&&... args) {
    return *::new (static_cast<void*>(storage_)) T(std::forward<Args>(args)...);
  }
  T& operator*() { return *std::launder(reinterpret_cast<T*>(storage_)); }
  T* operator->() { return &**this; }

private:
  // Bytes rather than a union: the destructor stays trivial, so nothing is registered for exit.
  alignas(T) unsigned char storage_[sizeof(T)] = {};
};

} // namespace oblako
