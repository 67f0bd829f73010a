#include "core/posix/pipe.hh"
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

namespace oblako::posix {

// In images that can deliver signals (core/posix/signal.hh).
[[gnu::weak]] void raise_on_current(int signo);

namespace {

using guard = sched::lock_guard<sched::mutex>;

constexpr uint32_t readable_events = EPOLLIN | EPOLLRDNORM;
constexpr uint32_t writable_events = EPOLLOUT | EPOLLWRNORM;

bool may_block(const file& f) {
  return !(f.flags() & O_NONBLOCK);
}

} // namespace

pipe_buffer::~pipe_buffer() {
  for (uint8_t* page : pages_)
    mem::release(page);
}

// Called with lock_ held; wait queues are inner locks.
void pipe_buffer::notify(bool readers, uint32_t events) {
  for (pipe_end* e = ends_; e; e = e->next_)
    if (readers ? e->reads : e->writes)
      e->readiness().wake_all(events);
}

void pipe_buffer::attach(pipe_end& e) {
  guard g(lock_);
  e.next_ = ends_;
  ends_ = &e;
  if (e.reads) {
    __atomic_store_n(&readers_, readers_ + 1, __ATOMIC_RELEASE);
    __atomic_store_n(&readers_seen_, readers_seen_ + 1, __ATOMIC_SEQ_CST);
  }
  if (e.writes) {
    __atomic_store_n(&writers_, writers_ + 1, __ATOMIC_RELEASE);
    __atomic_store_n(&writers_seen_, writers_seen_ + 1, __ATOMIC_SEQ_CST);
  }
  opened_.wake_all();
}

void pipe_buffer::detach(pipe_end& e) {
  guard g(lock_);
  pipe_end** at = &ends_;
  while (*at != &e)
    at = &(*at)->next_;
  *at = e.next_;
  if (e.reads)
    __atomic_store_n(&readers_, readers_ - 1, __ATOMIC_SEQ_CST);
  if (e.writes)
    __atomic_store_n(&writers_, writers_ - 1, __ATOMIC_SEQ_CST);
  if (!readers_)
    notify(false, EPOLLERR | writable_events);
  if (!writers_)
    notify(true, EPOLLHUP | readable_events);
}

result<size_t> pipe_buffer::take(mem::io_buffers& to) {
  guard g(lock_);
  size_t done = 0;
  while (to.remaining() && available()) {
    uint8_t*& page = page_at(read_);
    const size_t in_page = read_ % page_size;
    const size_t n = min_of(min_of(available(), page_size - in_page), to.remaining());
    auto moved = to.put(page + in_page, n);
    if (!moved.ok()) {
      if (!done)
        return moved.code();
      break;
    }
    const size_t got = *moved;
    done += got;
    // An emptied page goes back, except the one that is written next.
    if (in_page + got == page_size) {
      mem::release(page);
      page = nullptr;
    }
    __atomic_store_n(&read_, read_ + got, __ATOMIC_SEQ_CST);
    if (got != n)
      break;
  }
  if (done && __atomic_exchange_n(&tight_, false, __ATOMIC_SEQ_CST))
    notify(false, writable_events);
  return done;
}

// Moves what fits if that is `at_least` or more; otherwise nothing.
result<size_t> pipe_buffer::put(mem::io_buffers& from, size_t at_least) {
  guard g(lock_);
  size_t done = 0;
  if (space() < at_least) {
    note_tight();
    if (space() < at_least) // again: who has read in between did not see the note
      return done;
  }
  while (from.remaining() && space()) {
    uint8_t*& page = page_at(written_);
    if (!page && !(page = static_cast<uint8_t*>(mem::allocate_buffer(page_size)))) {
      if (!done)
        return error::nomem;
      break;
    }
    const size_t in_page = written_ % page_size;
    const size_t n = min_of(min_of(space(), page_size - in_page), from.remaining());
    auto moved = from.get(page + in_page, n);
    if (!moved.ok()) {
      if (!done)
        return moved.code();
      break;
    }
    done += *moved;
    __atomic_store_n(&written_, written_ + *moved, __ATOMIC_SEQ_CST);
    if (*moved != n)
      break;
  }
  if (from.remaining())
    note_tight();
  if (done)
    notify(true, readable_events);
  return done;
}

pipe_end::pipe_end(pipe_buffer& p, uint32_t flags, mem::ref<mem::counted> node)
    : file(flags), reads((flags & O_ACCMODE) != O_WRONLY), writes((flags & O_ACCMODE) != O_RDONLY),
      pipe_(mem::ref<pipe_buffer>::share(&p)), node_(std::move(node)),
      writers_before_(p.has_writers() ? 0 : p.writers_seen()) {
  p.attach(*this);
}

pipe_end::~pipe_end() {
  detach();
}

void pipe_end::detach() {
  if (__atomic_exchange_n(&attached_, false, __ATOMIC_ACQ_REL))
    pipe_->detach(*this);
}

result<size_t> pipe_end::read(mem::io_buffers& to) {
  if (!reads)
    return error::badf;
  if (to.remaining() == 0)
    return size_t{0};
  for (;;) {
    const bool writers = pipe_->has_writers(); // before looking: what they wrote is there
    const size_t n = TRY(pipe_->take(to));
    if (n || !writers)
      return n;
    if (!may_block(*this))
      return error::again;
    TRY(sched::wait_until(readiness(),
                          [this] { return pipe_->available() || !pipe_->has_writers(); }));
  }
}

result<size_t> pipe_end::write(mem::io_buffers& from) {
  if (!writes)
    return error::badf;
  const size_t wanted = from.remaining();
  const size_t at_least = wanted <= pipe_buffer::atomic_size ? wanted : 1;
  size_t done = 0;
  while (from.remaining()) {
    if (!pipe_->has_readers()) {
      if (raise_on_current)
        raise_on_current(SIGPIPE);
      return done ? result<size_t>(done) : error::pipe;
    }
    auto moved = pipe_->put(from, at_least);
    if (!moved.ok())
      return done ? result<size_t>(done) : moved.code();
    done += *moved;
    if (!from.remaining())
      break;
    if (!may_block(*this))
      return done ? result<size_t>(done) : error::again;
    auto waited = sched::wait_until(
        readiness(), [&] { return pipe_->space() >= at_least || !pipe_->has_readers(); });
    if (!waited.ok())
      return done ? result<size_t>(done) : waited.code();
  }
  return done;
}

result<void> pipe_end::status(struct stat& out) {
  out = {};
  out.st_dev = 0x14;
  out.st_ino = reinterpret_cast<uintptr_t>(pipe_.get()) >> 4; // distinct while the pipe lives
  out.st_mode = S_IFIFO | 0600;
  out.st_nlink = 1;
  out.st_blksize = page_size;
  return {};
}

result<long> pipe_end::control(unsigned long request, void* app_argument) {
  if (request != FIONREAD)
    return error::notty;
  TRY(mem::write_app(static_cast<int*>(app_argument), static_cast<int>(pipe_->available())));
  return 0L;
}

result<long> pipe_end::control_by_fcntl(int command, unsigned long argument) {
  constexpr int set_size = 1031, get_size = 1032; // F_SETPIPE_SZ, F_GETPIPE_SZ
  if (command == get_size)
    return static_cast<long>(pipe_buffer::capacity);
  if (command == set_size)
    return argument <= pipe_buffer::capacity ? result<long>(pipe_buffer::capacity) : error::perm;
  return error::inval;
}

uint32_t pipe_end::poll_events() {
  uint32_t events = 0;
  if (reads) {
    if (!pipe_->has_writers() && pipe_->writers_seen() > writers_before_)
      events |= EPOLLHUP;
    if (pipe_->available())
      events |= readable_events;
  }
  if (writes) {
    if (!pipe_->has_readers())
      events |= EPOLLERR;
    if (pipe_->space() < pipe_buffer::atomic_size)
      pipe_->note_tight();
    if (pipe_->space() >= pipe_buffer::atomic_size)
      events |= writable_events;
  }
  return events;
}

} // namespace oblako::posix
