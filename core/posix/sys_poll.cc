// poll and ppoll.
#include "arch/x64/syscall_entry.hh"
#include "core/posix/poll_set.hh"
#include "core/posix/signal.hh"
#include "core/posix/time_arguments.hh"
#include <poll.h>

using namespace oblako;
using namespace oblako::posix;

namespace {

// poll's bits are epoll's.
static_assert(POLLIN == EPOLLIN && POLLOUT == EPOLLOUT && POLLERR == EPOLLERR &&
              POLLHUP == EPOLLHUP && POLLPRI == EPOLLPRI && POLLRDHUP == EPOLLRDHUP &&
              POLLRDNORM == EPOLLRDNORM && POLLWRNORM == EPOLLWRNORM);

constexpr size_t inline_count = 6;

result<size_t> poll(pollfd* app_fds, size_t count, uint64_t timeout_ns) {
  if (count > descriptors.limit())
    return error::inval;
  pollfd inline_fds[inline_count];
  mem::unique<pollfd> heap_fds;
  pollfd* fds = inline_fds;
  if (count > inline_count) {
    heap_fds.reset(static_cast<pollfd*>(mem::allocate(count * sizeof(pollfd))));
    fds = heap_fds.get();
    if (!fds)
      return error::nomem;
  }
  TRY(mem::copy_from_app(fds, app_fds, count * sizeof(pollfd)));
  poll_set set;
  TRY(set.reserve(count));
  size_t invalid = 0;
  for (size_t i = 0; i < count; ++i) {
    fds[i].revents = 0;
    if (fds[i].fd < 0) {
      set.add_nothing();
    } else if (!set.add(fds[i].fd, static_cast<uint16_t>(fds[i].events) | POLLERR | POLLHUP)) {
      fds[i].revents = POLLNVAL;
      ++invalid;
    }
  }
  size_t ready = TRY(set.wait(invalid ? 0 : timeout_ns));
  for (size_t i = 0; i < count; ++i)
    if (fds[i].revents != POLLNVAL)
      fds[i].revents = static_cast<short>(set[i].ready);
  if (count)
    TRY(mem::copy_to_app(app_fds, fds, count * sizeof(pollfd)));
  return ready + invalid;
}

result<size_t> poll_masked(pollfd* app_fds, size_t count, const timespec* app_timeout,
                           const signal_mask* app_mask, size_t mask_size) {
  const uint64_t timeout = app_timeout ? TRY(ns_from_app(app_timeout)) : time::no_deadline;
  if (!app_mask)
    return poll(app_fds, count, timeout);
  signal_mask mask;
  TRY(call_signal_mask::check(app_mask, mask_size, mask));
  call_signal_mask for_this_call(&mask);
  return poll(app_fds, count, timeout);
}

} // namespace

OBLAKO_SYSCALL(sys_poll, do_poll);
extern "C" long do_poll(pollfd* fds, unsigned long count, int timeout_ms) {
  return to_syscall(poll(fds, count,
                         timeout_ms < 0 ? time::no_deadline
                                        : static_cast<uint64_t>(timeout_ms) * time::ns_per_ms));
}

OBLAKO_SYSCALL(sys_ppoll, do_ppoll);
extern "C" long do_ppoll(pollfd* fds, unsigned long count, const timespec* timeout,
                         const signal_mask* mask, size_t mask_size) {
  return to_syscall(poll_masked(fds, count, timeout, mask, mask_size));
}
