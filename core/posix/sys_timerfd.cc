// timerfd: a timer whose expirations are read as a count. One that was set to a moment on the wall
// clock follows it when it is set, and tells it if the application wants to know
// (TFD_TIMER_CANCEL_ON_SET).
//
// Invariants: the timer's callback and the wall clock's notification change nothing but the atomic
// marks; all else changes under lock_ while neither can run, or is `next_`, of which the callback
// may see the old or the new value: it wakes nobody before the moment in it.
#include "arch/x64/syscall_entry.hh"
#include "core/posix/file.hh"
#include "core/posix/time_arguments.hh"
#include "core/posix/wall_clock_watch.hh"
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
  ~timer_file() override { stop(); }

  result<size_t> read(mem::io_buffers& to) override {
    if (to.remaining() < sizeof(uint64_t))
      return error::inval;
    uint64_t taken;
    while (!(taken = TRY(take()))) {
      if (flags() & O_NONBLOCK)
        return error::again;
      TRY(sched::wait_until(readiness(), [this] { return ready(); }));
    }
    return to.put_whole(&taken, sizeof taken);
  }
  const void* kind() const override { return &timer_kind; }
  uint32_t poll_events() override { return ready() ? EPOLLIN | EPOLLRDNORM : 0; }

  // Time to the next expiration, and the interval; `first` 0 disarms.
  itimerspec setting() {
    sched::lock_guard guard(lock_);
    return remaining();
  }
  // Replaces the setting and returns the old one.
  result<itimerspec> set(const itimerspec& to, int flags);

private:
  struct own_timer : time::timer {
    explicit own_timer(timer_file& f) : timer(&own_timer::fired), owner(f) {}
    static void fired(time::timer& t) { static_cast<own_timer&>(t).owner.expire(); }
    timer_file& owner;
  };

  // Notified when the wall clock was set, under its queue's lock: the timer's callback does the
  // rest.
  struct clock_watch : sched::observer {
    explicit clock_watch(timer_file& f) : observer(&clock_watch::notify), owner(f) {}
    static bool notify(observer& o, uint32_t) {
      timer_file& f = static_cast<clock_watch&>(o).owner;
      if (f.cancel_on_set_)
        __atomic_store_n(&f.canceled_, true, __ATOMIC_SEQ_CST);
      f.timer_.arm(0);
      return false;
    }
    timer_file& owner;
  };

  // The time by the clock that the timer goes by.
  uint64_t now() const { return on_wall_ ? time::wall_ns() : time::monotonic_ns(); }
  void arm() { timer_.arm(on_wall_ ? deadline_of_wall(next_) : next_); }
  // Expirations between next_, which is past, and now.
  uint64_t missed() const {
    const uint64_t t = now();
    return t > next_ ? (t - next_) / interval_ : 0;
  }
  bool expired() const { return __atomic_load_n(&expired_, __ATOMIC_SEQ_CST); }
  bool ready() const { return expired() || __atomic_load_n(&canceled_, __ATOMIC_SEQ_CST); }
  result<uint64_t> take();
  itimerspec remaining();
  void stop();
  void expire(); // interrupt context

  const int clock_;
  sched::mutex lock_; // guards the setting
  own_timer timer_;
  clock_watch watch_{*this};
  bool on_wall_ = false;       // next_ is a moment on the wall clock
  bool cancel_on_set_ = false; // reading tells that the clock was set
  uint64_t next_ = 0;          // 0: disarmed. Past, if it expired and was not read since
  uint64_t interval_ = 0;
  bool expired_ = false;  // atomic: set by the timer
  bool canceled_ = false; // atomic: set by the watch
};

void timer_file::stop() {
  unwatch_wall_clock(watch_);
  timer_.cancel();
}

// As on Linux the timer rests until somebody reads, however short its interval.
void timer_file::expire() {
  const uint64_t next = __atomic_load_n(&next_, __ATOMIC_RELAXED);
  if (on_wall_ && !expired() && next) {
    if (time::wall_ns() >= next)
      __atomic_store_n(&expired_, true, __ATOMIC_SEQ_CST);
    else
      arm();
  } else if (next) {
    __atomic_store_n(&expired_, true, __ATOMIC_SEQ_CST);
  }
  if (ready())
    readiness().wake_all(EPOLLIN | EPOLLRDNORM);
}

// How often it expired since the last time; 0: not at all. Sets it going again. Errors: canceled
// (the clock was set: as on Linux a timer that had expired is at rest then).
result<uint64_t> timer_file::take() {
  sched::lock_guard guard(lock_);
  if (__atomic_exchange_n(&canceled_, false, __ATOMIC_SEQ_CST)) {
    if (__atomic_exchange_n(&expired_, false, __ATOMIC_SEQ_CST))
      __atomic_store_n(&next_, 0, __ATOMIC_RELAXED);
    return error::canceled;
  }
  if (!expired())
    return uint64_t{0};
  const uint64_t past = interval_ ? missed() : 0;
  const uint64_t next = interval_ ? time::later(next_ + past * interval_, interval_) : 0;
  __atomic_store_n(&next_, next, __ATOMIC_RELAXED);
  __atomic_store_n(&expired_, false, __ATOMIC_SEQ_CST);
  if (next)
    arm();
  return 1 + past;
}

itimerspec timer_file::remaining() {
  const uint64_t now = this->now();
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

result<itimerspec> timer_file::set(const itimerspec& to, int flags) {
  const uint64_t value = TRY(to_ns(to.it_value)), interval = TRY(to_ns(to.it_interval));
  sched::lock_guard guard(lock_);
  const itimerspec old = remaining();
  stop();
  __atomic_store_n(&expired_, false, __ATOMIC_SEQ_CST);
  __atomic_store_n(&canceled_, false, __ATOMIC_SEQ_CST);
  const bool absolute = flags & TFD_TIMER_ABSTIME;
  on_wall_ = absolute && clock_ == CLOCK_REALTIME;
  cancel_on_set_ = on_wall_ && flags & TFD_TIMER_CANCEL_ON_SET;
  interval_ = interval;
  next_ = value && !absolute ? deadline_after(value) : value;
  if (on_wall_ && (value || cancel_on_set_))
    watch_wall_clock(watch_);
  if (value)
    arm();
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
  const auto old = TRY(timer->set(to, flags));
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
