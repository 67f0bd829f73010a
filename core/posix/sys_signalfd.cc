// signalfd: pending signals read as records. As on Linux a reader takes its own thread's signals
// and the process's; the mask says which.
#include "arch/x64/syscall_entry.hh"
#include "core/base/needs.hh"
#include "core/mem/app_memory.hh"
#include "core/posix/file.hh"
#include "core/posix/signal.hh"
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

namespace oblako::posix {
namespace {

constexpr char signal_kind = 0;
static_assert(sizeof(signalfd_siginfo) == 128);

signalfd_siginfo record_of(const siginfo_t& info) {
  signalfd_siginfo r{};
  r.ssi_signo = static_cast<uint32_t>(info.si_signo);
  r.ssi_errno = info.si_errno;
  r.ssi_code = info.si_code;
  if (info.si_code == SI_TIMER) {
    r.ssi_tid = static_cast<uint32_t>(info.si_timerid);
    r.ssi_overrun = static_cast<uint32_t>(info.si_overrun);
  } else if (info.si_code <= 0) { // somebody sent it
    r.ssi_pid = static_cast<uint32_t>(info.si_pid);
    r.ssi_uid = static_cast<uint32_t>(info.si_uid);
  }
  r.ssi_int = info.si_value.sival_int;
  r.ssi_ptr = reinterpret_cast<uint64_t>(info.si_value.sival_ptr);
  return r;
}

class signal_file final : public file {
public:
  using counts_as_buffer = void;
  signal_file(uint32_t flags, signal_mask mask) : file(flags), mask_(mask), arrival_(*this) {
    signal_arrived.add(arrival_);
  }
  ~signal_file() override { signal_arrived.remove(arrival_); }

  result<size_t> read(mem::io_buffers& to) override {
    if (to.remaining() < sizeof(signalfd_siginfo))
      return error::inval;
    siginfo_t info;
    if (!take(info)) {
      if (flags() & O_NONBLOCK)
        return error::again;
      TRY(sched::wait_until(signal_arrived, [&] { return take(info); }));
    }
    size_t bytes = 0;
    do {
      const signalfd_siginfo record = record_of(info);
      if (!to.put_whole(&record, sizeof record).ok()) // as on Linux, this signal is lost
        return bytes ? result<size_t>(bytes) : error::fault;
      bytes += sizeof record;
    } while (to.remaining() >= sizeof(signalfd_siginfo) && take(info));
    return bytes;
  }

  uint32_t poll_events() override {
    const signal_mask pending = sched::current().signals.pending | process_pending;
    return pending & mask() ? EPOLLIN | EPOLLRDNORM : 0;
  }
  const void* kind() const override { return &signal_kind; }

  void set_mask(signal_mask mask) {
    __atomic_store_n(&mask_, mask, __ATOMIC_SEQ_CST);
    signal_arrived.wake_all();
  }

private:
  struct arrival : sched::observer {
    explicit arrival(signal_file& f) : observer(&arrival::notify), owner(f) {}
    static bool notify(observer& o, uint32_t) {
      static_cast<arrival&>(o).owner.readiness().wake_all(EPOLLIN | EPOLLRDNORM);
      return false;
    }
    signal_file& owner;
  };

  signal_mask mask() const { return __atomic_load_n(&mask_, __ATOMIC_SEQ_CST); }

  bool take(siginfo_t& info) {
    queued_signal* to_free = nullptr;
    bool taken;
    {
      sched::spinlock_guard guard(signal_lock);
      taken = take_signal(mask(), info, to_free) != 0;
      update_pending_mark(sched::current());
    }
    free_signal(to_free);
    return taken;
  }

  signal_mask mask_;
  arrival arrival_;
};

result<int> make_or_change(int fd, const signal_mask* app_mask, size_t size, int flags) {
  // As for sigtimedwait: an application may read of ^C and the power button without a handler.
  OBLAKO_NEEDS(oblako_start_signals);
  OBLAKO_NEEDS(oblako_deliver_signals);
  if (size != sizeof(signal_mask) || (flags & ~(SFD_NONBLOCK | SFD_CLOEXEC)))
    return error::inval;
  const signal_mask mask = TRY(mem::read_app(app_mask)) & ~unblockable;
  if (fd == -1) {
    auto f = TRY(mem::make_shared<signal_file>(O_RDWR | (flags & SFD_NONBLOCK), mask));
    return install_file(std::move(f), flags & SFD_CLOEXEC ? close_on_exec::yes : close_on_exec::no);
  }
  auto f = TRY(get_file(fd));
  if (f->kind() != &signal_kind)
    return error::inval;
  static_cast<signal_file&>(*f).set_mask(mask);
  return fd;
}

} // namespace
} // namespace oblako::posix

OBLAKO_SYSCALL(sys_signalfd4, do_signalfd4);
OBLAKO_SYSCALL(sys_signalfd, do_signalfd);

extern "C" long do_signalfd4(int fd, const oblako::posix::signal_mask* mask, size_t size,
                             int flags) {
  return oblako::to_syscall(oblako::posix::make_or_change(fd, mask, size, flags));
}
extern "C" long do_signalfd(int fd, const oblako::posix::signal_mask* mask, size_t size) {
  return oblako::to_syscall(oblako::posix::make_or_change(fd, mask, size, 0));
}
