// late<T>: storage for a global that is constructed when its subsystem starts, because the kernel
// has no static constructors (Boost.Intrusive containers are not constexpr-constructible).
#pragma once

#include <new>
#include <utility>

namespace oblako {

template <class T>
class late {
public:
  constexpr late() : none_{} {}
  template <class... Args>
  T& construct(Args&&... args) {
    return *::new (static_cast<void*>(&value_)) T(std::forward<Args>(args)...);
  }
  T& operator*() { return value_; }
  T* operator->() { return &value_; }

private:
  union {
    char none_;
    T value_;
  };
};

} // namespace oblako
