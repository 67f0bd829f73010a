// eventfd: a counter as a file.
#include "arch/x64/syscall_entry.hh"
#include "core/posix/file.hh"
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

namespace oblako::posix {

namespace {

constexpr uint64_t largest = ~uint64_t{0} - 1;

class event_file final : public file {
public:
  using counts_as_buffer = void;
  event_file(uint32_t flags, uint64_t initial, bool semaphore)
      : file(flags), count_(initial), semaphore_(semaphore) {}

  result<size_t> read(mem::io_buffers& to) override {
    if (to.remaining() < sizeof(uint64_t))
      return error::inval;
    uint64_t taken;
    while (!(taken = take())) {
      if (flags() & O_NONBLOCK)
        return error::again;
      TRY(sched::wait_until(readiness(), [this] { return count() != 0; }));
    }
    readiness().wake_all(EPOLLOUT | EPOLLWRNORM);
    return to.put_whole(&taken, sizeof taken);
  }

  result<size_t> write(mem::io_buffers& from) override {
    uint64_t value;
    if (from.remaining() < sizeof value)
      return error::inval;
    TRY(from.get_whole(&value, sizeof value));
    if (value > largest)
      return error::inval;
    while (!add(value)) {
      if (flags() & O_NONBLOCK)
        return error::again;
      TRY(sched::wait_until(readiness(), [&] { return count() <= largest - value; }));
    }
    readiness().wake_all(EPOLLIN | EPOLLRDNORM);
    return sizeof value;
  }

  uint32_t poll_events() override {
    const uint64_t n = count();
    return (n ? EPOLLIN | EPOLLRDNORM : 0) | (n < largest ? EPOLLOUT | EPOLLWRNORM : 0);
  }

private:
  uint64_t count() const { return __atomic_load_n(&count_, __ATOMIC_SEQ_CST); }

  // What a read takes; 0 if there is nothing.
  uint64_t take() {
    uint64_t n = count(), left;
    do {
      if (n == 0)
        return 0;
      left = semaphore_ ? n - 1 : 0;
    } while (
        !__atomic_compare_exchange_n(&count_, &n, left, true, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
    return n - left;
  }
  bool add(uint64_t value) {
    uint64_t n = count();
    do {
      if (n > largest - value)
        return false;
    } while (!__atomic_compare_exchange_n(&count_, &n, n + value, true, __ATOMIC_SEQ_CST,
                                          __ATOMIC_SEQ_CST));
    return true;
  }

  uint64_t count_;
  const bool semaphore_;
};

result<int> make(unsigned initial, int flags) {
  if (flags & ~(EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE))
    return error::inval;
  auto f = TRY(mem::make_shared<event_file>(O_RDWR | static_cast<uint32_t>(flags & O_NONBLOCK),
                                            uint64_t{initial}, (flags & EFD_SEMAPHORE) != 0));
  return install_file(std::move(f), flags & EFD_CLOEXEC ? close_on_exec::yes : close_on_exec::no);
}

} // namespace

} // namespace oblako::posix

OBLAKO_SYSCALL(sys_eventfd2, do_eventfd2);
extern "C" long do_eventfd2(unsigned initial, int flags) {
  return oblako::to_syscall(oblako::posix::make(initial, flags));
}

OBLAKO_SYSCALL(sys_eventfd, do_eventfd);
extern "C" long do_eventfd(unsigned initial) {
  return oblako::to_syscall(oblako::posix::make(initial, 0));
}
