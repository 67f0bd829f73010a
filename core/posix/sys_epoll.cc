// The epoll calls.
#include "arch/x64/syscall_entry.hh"
#include "core/net/poller.hh"
#include "core/posix/epoll.hh"
#include "core/posix/signal.hh"
#include "core/posix/time_arguments.hh"
#include <fcntl.h>

using namespace oblako;
using namespace oblako::posix;

namespace {

constexpr uint64_t nothing_to_wait_for = 0;

result<int> create(int flags) {
  if (flags & ~EPOLL_CLOEXEC)
    return error::inval;
  auto f = TRY(mem::make_shared<epoll_file>(O_RDWR));
  return install_file(std::move(f), flags & EPOLL_CLOEXEC ? close_on_exec::yes : close_on_exec::no);
}

// The epoll file behind a descriptor. Errors: badf; inval (something else).
result<mem::ref<epoll_file>> epoll_at(int fd) {
  auto f = TRY(get_file(fd));
  if (!epoll_file::is_epoll(*f))
    return error::inval;
  return mem::ref<epoll_file>::adopt(static_cast<epoll_file*>(f.leak()));
}

result<void> control(int epoll_fd, int operation, int fd, const epoll_event* app_event) {
  epoll_event event{};
  if (operation != EPOLL_CTL_DEL)
    event = TRY(mem::read_app(app_event));
  auto e = TRY(epoll_at(epoll_fd));
  auto target = TRY(get_file(fd));
  switch (operation) {
  case EPOLL_CTL_ADD:
    return e->add(fd, *target, event);
  case EPOLL_CTL_MOD:
    return e->modify(fd, *target, event);
  case EPOLL_CTL_DEL:
    return e->remove(fd, *target);
  }
  return error::inval;
}

// `timeout_ns`: no_deadline waits for ever. The deadline is computed only by a caller that sleeps.
result<size_t> wait(int epoll_fd, epoll_event* app_events, int room, uint64_t timeout_ns) {
  if (room <= 0 || room > 1 << 24)
    return error::inval;
  auto e = TRY(epoll_at(epoll_fd));
  const auto places = static_cast<size_t>(room);
  if (const size_t n = TRY(e->collect(app_events, places))) {
    e->note_busy();
    return n;
  }
  // Before deciding to sleep: what the network has in hand may be what is waited for.
  if (e->needs_network() && net::present() && net::poll())
    if (const size_t n = TRY(e->collect(app_events, places)))
      return n;
  if (timeout_ns == nothing_to_wait_for)
    return size_t{0};
  const uint64_t deadline =
      timeout_ns == time::no_deadline ? time::no_deadline : deadline_after(timeout_ns);
  return e->wait(app_events, places, deadline);
}

result<size_t> wait_masked(int epoll_fd, epoll_event* app_events, int room, uint64_t timeout_ns,
                           const signal_mask* app_mask, size_t mask_size) {
  if (!app_mask) [[likely]]
    return wait(epoll_fd, app_events, room, timeout_ns);
  signal_mask mask;
  TRY(call_signal_mask::check(app_mask, mask_size, mask));
  call_signal_mask for_this_call(&mask);
  return wait(epoll_fd, app_events, room, timeout_ns);
}

uint64_t from_milliseconds(int ms) {
  return ms < 0 ? time::no_deadline : static_cast<uint64_t>(ms) * time::ns_per_ms;
}

} // namespace

OBLAKO_SYSCALL(sys_epoll_create1, do_epoll_create1);
extern "C" long do_epoll_create1(int flags) {
  return to_syscall(create(flags));
}

OBLAKO_SYSCALL(sys_epoll_create, do_epoll_create);
extern "C" long do_epoll_create(int size) {
  return size > 0 ? to_syscall(create(0)) : to_syscall(result<void>(error::inval));
}

OBLAKO_SYSCALL(sys_epoll_ctl, do_epoll_ctl);
extern "C" long do_epoll_ctl(int epoll_fd, int operation, int fd, const epoll_event* event) {
  return to_syscall(control(epoll_fd, operation, fd, event));
}

OBLAKO_SYSCALL(sys_epoll_wait, do_epoll_wait);
extern "C" long do_epoll_wait(int epoll_fd, epoll_event* events, int room, int timeout_ms) {
  return to_syscall(wait(epoll_fd, events, room, from_milliseconds(timeout_ms)));
}

OBLAKO_SYSCALL(sys_epoll_pwait, do_epoll_pwait);
extern "C" long do_epoll_pwait(int epoll_fd, epoll_event* events, int room, int timeout_ms,
                               const signal_mask* mask, size_t mask_size) {
  return to_syscall(
      wait_masked(epoll_fd, events, room, from_milliseconds(timeout_ms), mask, mask_size));
}

OBLAKO_SYSCALL(sys_epoll_pwait2, do_epoll_pwait2);
extern "C" long do_epoll_pwait2(int epoll_fd, epoll_event* events, int room,
                                const timespec* timeout, const signal_mask* mask,
                                size_t mask_size) {
  uint64_t ns = time::no_deadline;
  if (timeout) {
    auto given = ns_from_app(timeout);
    if (!given.ok())
      return to_syscall(given);
    ns = *given;
  }
  return to_syscall(wait_masked(epoll_fd, events, room, ns, mask, mask_size));
}
