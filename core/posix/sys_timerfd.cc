// timerfd: a timer whose expirations are read as a count.
#include "arch/x64/syscall_entry.hh"
#include "core/posix/file.hh"
#include "core/posix/time_arguments.hh"
#include "core/time/timer.hh"
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>

namespace oblako::posix {

namespace {

constexpr char timer_kind = 0;

class timer_file final : public file {
public:
  using counts_as_buffer = void;
  timer_file(uint32_t flags, int clock) : file(flags), clock_(clock), timer_(*this) {}
  ~timer_file() override { timer_.cancel(); }

  result<size_t> read(mem::io_buffers& to) override {
    if (to.remaining() < sizeof(uint64_t))
      return error::inval;
    uint64_t taken;
    while (!(taken = take())) {
      if (flags() & O_NONBLOCK)
        return error::again;
      TRY(sched::wait_until(readiness(), [this] { return expired(); }));
    }
    return to.put_whole(&taken, sizeof taken);
  }
  const void* kind() const override { return &timer_kind; }
  uint32_t poll_events() override { return expired() ? EPOLLIN | EPOLLRDNORM : 0; }

  // Time to the next expiration, and the interval; `first` 0 disarms.
  itimerspec setting() {
    sched::lock_guard guard(lock_);
    return remaining();
  }
  // Replaces the setting and returns the old one.
  result<itimerspec> set(const itimerspec& to, bool absolute);

private:
  struct own_timer : time::timer {
    explicit own_timer(timer_file& f) : timer(&own_timer::fired), owner(f) {}
    static void fired(time::timer& t) { static_cast<own_timer&>(t).owner.expire(); }
    timer_file& owner;
  };

  // Expirations between next_, which is past, and now.
  uint64_t missed() const {
    const uint64_t now = time::monotonic_ns();
    return now > next_ ? (now - next_) / interval_ : 0;
  }
  bool expired() const { return __atomic_load_n(&expired_, __ATOMIC_SEQ_CST); }
  uint64_t take();
  itimerspec remaining();
  void expire(); // interrupt context

  const int clock_;
  sched::mutex lock_; // guards the setting
  own_timer timer_;
  uint64_t next_ = 0; // monotonic ns; 0: disarmed. Past, if it expired and was not read since
  uint64_t interval_ = 0;
  bool expired_ = false; // atomic: set by the timer
};

// As on Linux the timer rests until somebody reads, however short its interval.
void timer_file::expire() {
  __atomic_store_n(&expired_, true, __ATOMIC_SEQ_CST);
  readiness().wake_all(EPOLLIN | EPOLLRDNORM);
}

// How often it expired since the last time; 0: not at all. Sets it going again.
uint64_t timer_file::take() {
  sched::lock_guard guard(lock_);
  if (!__atomic_exchange_n(&expired_, false, __ATOMIC_SEQ_CST))
    return 0;
  if (!interval_) {
    next_ = 0;
    return 1;
  }
  const uint64_t past = missed();
  next_ = time::later(next_ + past * interval_, interval_);
  timer_.arm(next_);
  return 1 + past;
}

itimerspec timer_file::remaining() {
  const uint64_t now = time::monotonic_ns();
  itimerspec s{};
  s.it_interval = to_timespec(interval_);
  if (next_ == 0 || (expired() && !interval_))
    return s;
  // Due, but its interrupt is still to come: as short as can be, since 0 means disarmed.
  uint64_t next = next_;
  if (expired())
    next = time::later(next + missed() * interval_, interval_);
  s.it_value = to_timespec(next > now ? next - now : 1);
  return s;
}

result<itimerspec> timer_file::set(const itimerspec& to, bool absolute) {
  const uint64_t value = TRY(to_ns(to.it_value)), interval = TRY(to_ns(to.it_interval));
  sched::lock_guard guard(lock_);
  const itimerspec old = remaining();
  timer_.cancel();
  __atomic_store_n(&expired_, false, __ATOMIC_SEQ_CST);
  interval_ = interval;
  next_ = 0;
  if (value) {
    const uint64_t moment = !absolute                  ? deadline_after(value)
                            : clock_ == CLOCK_REALTIME ? deadline_of_wall(value)
                                                       : value;
    next_ = max_of<uint64_t>(moment, 1);
    timer_.arm(next_);
  }
  return old;
}

result<int> make(int clock, int flags) {
  if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC && clock != CLOCK_BOOTTIME)
    return error::inval;
  if (flags & ~(TFD_CLOEXEC | TFD_NONBLOCK))
    return error::inval;
  auto f =
      TRY(mem::make_shared<timer_file>(O_RDWR | static_cast<uint32_t>(flags & O_NONBLOCK), clock));
  return install_file(std::move(f), flags & TFD_CLOEXEC ? close_on_exec::yes : close_on_exec::no);
}

result<mem::ref<timer_file>> timer_at(int fd) {
  auto f = TRY(get_file(fd));
  if (f->kind() != &timer_kind)
    return error::inval;
  return mem::ref<timer_file>::adopt(static_cast<timer_file*>(f.leak()));
}

result<void> set_time(int fd, int flags, const itimerspec* app_to, itimerspec* app_old) {
  if (flags & ~(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET))
    return error::inval;
  const auto to = TRY(mem::read_app(app_to));
  auto timer = TRY(timer_at(fd));
  const auto old = TRY(timer->set(to, flags & TFD_TIMER_ABSTIME));
  return app_old ? mem::write_app(app_old, old) : result<void>();
}

result<void> get_time(int fd, itimerspec* app_out) {
  return mem::write_app(app_out, TRY(timer_at(fd))->setting());
}

} // namespace

} // namespace oblako::posix

using namespace oblako;

OBLAKO_SYSCALL(sys_timerfd_create, do_timerfd_create);
extern "C" long do_timerfd_create(int clock, int flags) {
  return to_syscall(posix::make(clock, flags));
}

OBLAKO_SYSCALL(sys_timerfd_settime, do_timerfd_settime);
extern "C" long do_timerfd_settime(int fd, int flags, const itimerspec* to, itimerspec* old) {
  return to_syscall(posix::set_time(fd, flags, to, old));
}

OBLAKO_SYSCALL(sys_timerfd_gettime, do_timerfd_gettime);
extern "C" long do_timerfd_gettime(int fd, itimerspec* out) {
  return to_syscall(posix::get_time(fd, out));
}
