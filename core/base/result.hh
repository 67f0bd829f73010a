// result<T>: a value or a Linux errno, for every call that can fail. Errors stay values until the
// system-call edge turns them into -errno. TRY unwraps or returns the error to the caller.
#pragma once

#include <new>
#include <stdint.h>
#include <type_traits>
#include <utility>

namespace oblako {

// Linux errno values (x86-64), as the application sees them, negated, at the system-call edge.
enum class error : int {
  none = 0,
  perm = 1,
  noent = 2,
  srch = 3,
  intr = 4,
  io = 5,
  nxio = 6,
  toobig = 7,
  noexec = 8,
  badf = 9,
  child = 10,
  again = 11,
  nomem = 12,
  acces = 13,
  fault = 14,
  busy = 16,
  exist = 17,
  xdev = 18,
  nodev = 19,
  notdir = 20,
  isdir = 21,
  inval = 22,
  nfile = 23,
  mfile = 24,
  notty = 25,
  fbig = 27,
  nospc = 28,
  spipe = 29,
  rofs = 30,
  mlink = 31,
  pipe = 32,
  dom = 33,
  range = 34,
  deadlk = 35,
  nametoolong = 36,
  nolck = 37,
  nosys = 38,
  notempty = 39,
  loop = 40,
  nonet = 64,
  proto = 71,
  overflow = 75,
  notsock = 88,
  destaddrreq = 89,
  msgsize = 90,
  prototype = 91,
  noprotoopt = 92,
  protonosupport = 93,
  socktnosupport = 94,
  opnotsupp = 95,
  afnosupport = 97,
  addrinuse = 98,
  addrnotavail = 99,
  netdown = 100,
  netunreach = 101,
  connaborted = 103,
  connreset = 104,
  nobufs = 105,
  isconn = 106,
  notconn = 107,
  toomanyrefs = 109,
  timedout = 110,
  connrefused = 111,
  hostdown = 112,
  hostunreach = 113,
  already = 114,
  inprogress = 115,
  canceled = 125,
  // Kernel-internal, never seen by the application: the call was interrupted by a signal before
  // anything was consumed. The boundary restarts the call if the handler has SA_RESTART (or no
  // handler ran) and turns it into intr otherwise.
  restart = 512,
  // The same, but restarted only if no handler ran: calls with a timeout, sigsuspend, poll.
  restart_no_handler = 514,
};

// Tag type that carries an error into any result<T>.
struct failure {
  error code;
};

// What a result holds. A plain value travels in registers: that takes a trivial move and
// destructor.
template <class T, bool plain = std::is_trivially_copyable_v<T>>
struct result_storage {
  explicit result_storage(T&& value) : value_(std::move(value)), error_(error::none) {}
  explicit result_storage(error e) : error_(e) {
    // Both registers are set; the compiler would suspect a use of what is not.
    if constexpr (sizeof(T) <= sizeof(uint64_t))
      __builtin_memset(static_cast<void*>(&value_), 0, sizeof value_);
  }
  union {
    T value_;
  };
  error error_;
};

template <class T>
struct result_storage<T, false> {
  explicit result_storage(T&& value) : value_(std::move(value)), error_(error::none) {}
  explicit result_storage(error e) : error_(e) {}
  result_storage(result_storage&& other) noexcept : error_(other.error_) {
    if (error_ == error::none)
      new (&value_) T(std::move(other.value_));
  }
  ~result_storage() {
    if (error_ == error::none)
      value_.~T();
  }
  union {
    T value_;
  };
  error error_;
};

template <class T>
class [[nodiscard]] result : result_storage<T> {
  using storage = result_storage<T>;

public:
  result(T value) : storage(std::move(value)) {}
  result(failure f) : storage(f.code) {}
  result(error e) : storage(e) {}
  result(result&& other) noexcept = default;
  result& operator=(result&&) = delete;

  bool ok() const { return storage::error_ == error::none; }
  explicit operator bool() const { return ok(); }
  error code() const { return storage::error_; }
  T& value() { return storage::value_; }
  const T& value() const { return storage::value_; }
  T& operator*() { return storage::value_; }
  T* operator->() { return &this->value_; }
  T take() { return std::move(storage::value_); }
};

template <>
class [[nodiscard]] result<void> {
public:
  result() : error_(error::none) {}
  result(failure f) : error_(f.code) {}
  result(error e) : error_(e) {}
  bool ok() const { return error_ == error::none; }
  explicit operator bool() const { return ok(); }
  error code() const { return error_; }
  void take() const {}

private:
  error error_;
};

// At the system-call edge: the value, or -errno.
template <class T>
inline long to_syscall(const result<T>& r) {
  if (!r.ok())
    return -static_cast<long>(r.code());
  if constexpr (std::is_void_v<T>)
    return 0;
  else
    return static_cast<long>(r.value());
}

} // namespace oblako

// Evaluates to the value of a result expression, or returns its error from the calling function.
#define TRY(expression)                                                                            \
  ({                                                                                               \
    auto try_result_ = (expression);                                                               \
    if (!try_result_.ok()) [[unlikely]]                                                            \
      return ::oblako::failure{try_result_.code()};                                                \
    try_result_.take();                                                                            \
  })
