// The kernel heap: size-class slabs over page frames; large requests take whole pages. Everything
// lies in the direct map, so mem::to_physical() works on it. Kernel objects are made by make<T>()
// and held by unique<T>, or, if shared, counted intrusively through ref<T>.
#pragma once

#include "core/base/result.hh"
#include "core/base/types.hh"
#include <new>
#include <utility>

namespace oblako::mem {

// 16-byte aligned; sizes of 2^n up to a page are aligned to their size. nullptr if out of memory.
// Context: any thread, or interrupts off; never blocks. Not from an interrupt handler.
void* allocate(size_t bytes);
void* allocate_zeroed(size_t bytes);
// The same for what a peer, or a program that goes on writing, can make the kernel hold: counted in
// the account of buffers (core/mem/buffer_account.hh) until it is released.
void* allocate_buffer(size_t bytes);
void* allocate_buffer_zeroed(size_t bytes);
void release(void* memory);                     // nullptr is fine
void release_sized(void* memory, size_t bytes); // the same, when the caller knows the size

// Bytes in use by the kernel heap, slab overhead included.
size_t heap_bytes_in_use();

// Base of kernel classes with virtual functions: keeps the compiler's deleting destructors away
// from the application's operator delete.
struct heap_object {
  static void* operator new(size_t, void* where) noexcept { return where; }
  static void operator delete(void* memory) { release(memory); }
  static void operator delete(void*, void*) {}
};

template <class T>
class unique {
public:
  unique() = default;
  explicit unique(T* p) : p_(p) {}
  unique(unique&& o) noexcept : p_(std::exchange(o.p_, nullptr)) {}
  template <class U>
  unique(unique<U>&& o) : p_(o.release()) {}
  unique& operator=(unique&& o) noexcept {
    reset(std::exchange(o.p_, nullptr));
    return *this;
  }
  ~unique() { reset(); }
  void reset(T* p = nullptr) {
    if (T* old = std::exchange(p_, p)) {
      old->~T();
      mem::release(const_cast<std::remove_const_t<T>*>(old));
    }
  }
  T* get() const { return p_; }
  T* operator->() const { return p_; }
  T& operator*() const { return *p_; }
  explicit operator bool() const { return p_ != nullptr; }
  T* release() { return std::exchange(p_, nullptr); }

private:
  T* p_ = nullptr;
};

// The same for a whole object, such as a socket: nullptr also when buffers have come to their
// limit.
void* allocate_buffer_object(size_t bytes);

// A class that says `using counts_as_buffer = void;` is allocated as one.
template <class T>
void* allocate_object() {
  if constexpr (requires { typename T::counts_as_buffer; })
    return allocate_buffer_object(sizeof(T));
  else
    return allocate(sizeof(T));
}

// Constructs a T on the kernel heap. Errors: nomem.
template <class T, class... Args>
result<unique<T>> make(Args&&... args) {
  void* memory = allocate_object<T>();
  if (!memory) [[unlikely]]
    return error::nomem;
  return unique<T>(::new (memory) T(std::forward<Args>(args)...));
}

// Intrusive reference count. Objects start with one reference, owned by the ref<T> that
// make_shared() returns. The last release destroys the object through its virtual destructor.
class counted : public heap_object, noncopyable {
public:
  virtual ~counted() = default;
  void add_reference() { __atomic_fetch_add(&references_, 1, __ATOMIC_RELAXED); }
  void drop_reference() {
    // acq_rel: every use by other holders happens before the destructor runs.
    if (__atomic_sub_fetch(&references_, 1, __ATOMIC_ACQ_REL) == 0)
      delete this;
  }
  uint32_t references() const { return __atomic_load_n(&references_, __ATOMIC_RELAXED); }

private:
  uint32_t references_ = 1;
};

template <class T>
class ref {
public:
  ref() = default;
  // Takes over a reference the caller already owns.
  static ref adopt(T* p) {
    ref r;
    r.p_ = p;
    return r;
  }
  // Adds a reference to a borrowed object.
  static ref share(T* p) {
    if (p)
      p->add_reference();
    return adopt(p);
  }
  ref(const ref& o) : p_(o.p_) {
    if (p_)
      p_->add_reference();
  }
  ref(ref&& o) noexcept : p_(std::exchange(o.p_, nullptr)) {}
  template <class U>
  ref(ref<U> o) : p_(o.leak()) {}
  ref& operator=(ref o) noexcept {
    std::swap(p_, o.p_);
    return *this;
  }
  ~ref() {
    if (p_)
      p_->drop_reference();
  }
  T* get() const { return p_; }
  T* operator->() const { return p_; }
  T& operator*() const { return *p_; }
  explicit operator bool() const { return p_ != nullptr; }
  // Gives up ownership without dropping the reference.
  T* leak() { return std::exchange(p_, nullptr); }

private:
  T* p_ = nullptr;
};

template <class T, class... Args>
result<ref<T>> make_shared(Args&&... args) {
  void* memory = allocate_object<T>();
  if (!memory) [[unlikely]]
    return error::nomem;
  return ref<T>::adopt(::new (memory) T(std::forward<Args>(args)...));
}

} // namespace oblako::mem
