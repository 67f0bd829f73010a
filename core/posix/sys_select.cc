// select and pselect6.
#include "arch/x64/syscall_entry.hh"
#include "core/posix/poll_set.hh"
#include "core/posix/signal.hh"
#include "core/posix/time_arguments.hh"
#include <sys/time.h>

using namespace oblako;
using namespace oblako::posix;

namespace {

constexpr unsigned most_descriptors = 65536;

// What makes a descriptor readable, writable, exceptional for select.
constexpr uint32_t conditions[3] = {
    EPOLLIN | EPOLLRDNORM | EPOLLRDBAND | EPOLLHUP | EPOLLERR,
    EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND | EPOLLERR,
    EPOLLPRI,
};

// The three bit sets, in kernel memory.
class sets : noncopyable {
public:
  // Errors: fault, nomem.
  result<void> load(unsigned count, uint64_t* const (&app)[3]) {
    words_ = (count + 63) / 64;
    if (words_ == 0)
      return {};
    memory_.reset(static_cast<uint64_t*>(mem::allocate_zeroed(3 * words_ * 8)));
    if (!memory_)
      return error::nomem;
    for (unsigned k = 0; k < 3; ++k)
      if (app[k])
        TRY(mem::copy_from_app(of(k), app[k], words_ * 8));
    return {};
  }
  result<void> store(uint64_t* const (&app)[3]) {
    for (unsigned k = 0; k < 3; ++k)
      if (app[k] && words_)
        TRY(mem::copy_to_app(app[k], of(k), words_ * 8));
    return {};
  }
  bool has(unsigned k, unsigned fd) { return of(k)[fd / 64] >> (fd % 64) & 1; }
  void clear(unsigned k, unsigned fd) { of(k)[fd / 64] &= ~(uint64_t{1} << (fd % 64)); }

private:
  uint64_t* of(unsigned k) { return memory_.get() + k * words_; }
  mem::unique<uint64_t> memory_;
  size_t words_ = 0;
};

uint32_t wanted_of(sets& s, unsigned fd) {
  uint32_t wanted = 0;
  for (unsigned k = 0; k < 3; ++k)
    if (s.has(k, fd))
      wanted |= conditions[k];
  return wanted;
}

result<size_t> select(int limit, uint64_t* const (&app)[3], uint64_t timeout_ns) {
  if (limit < 0)
    return error::inval;
  const unsigned count = min_of(static_cast<unsigned>(limit), most_descriptors);
  sets s;
  TRY(s.load(count, app));
  size_t watched = 0;
  for (unsigned fd = 0; fd < count; ++fd)
    watched += wanted_of(s, fd) != 0;
  poll_set set;
  TRY(set.reserve(watched));
  for (unsigned fd = 0; fd < count; ++fd)
    if (const uint32_t wanted = wanted_of(s, fd))
      if (!set.add(static_cast<int>(fd), wanted))
        return error::badf;
  TRY(set.wait(timeout_ns));
  // Each descriptor counts once for every set it stays in.
  size_t bits = 0, entry = 0;
  for (unsigned fd = 0; fd < count; ++fd) {
    if (!wanted_of(s, fd))
      continue;
    const uint32_t ready = set[entry++].ready;
    for (unsigned k = 0; k < 3; ++k) {
      if (!s.has(k, fd))
        continue;
      if (ready & conditions[k])
        ++bits;
      else
        s.clear(k, fd);
    }
  }
  TRY(s.store(app));
  return bits;
}

result<uint64_t> timeout_of(const timeval* app) {
  if (!app)
    return time::no_deadline;
  const auto t = TRY(mem::read_app(app));
  if (t.tv_sec < 0 || t.tv_usec < 0)
    return error::inval;
  // Unlike all others this call takes microseconds of more than a second.
  return time::later(TRY(to_ns(timespec{t.tv_sec, 0})),
                     TRY(to_ns(timespec{t.tv_usec / 1'000'000, t.tv_usec % 1'000'000 * 1000})));
}

struct mask_argument {
  const signal_mask* mask;
  size_t size;
};

result<size_t> select_masked(int limit, uint64_t* const (&app)[3], const timespec* app_timeout,
                             const mask_argument* app_mask) {
  const uint64_t timeout = app_timeout ? TRY(ns_from_app(app_timeout)) : time::no_deadline;
  mask_argument given{};
  if (app_mask)
    given = TRY(mem::read_app(app_mask));
  if (!given.mask)
    return select(limit, app, timeout);
  signal_mask mask;
  TRY(call_signal_mask::check(given.mask, given.size, mask));
  call_signal_mask for_this_call(&mask);
  return select(limit, app, timeout);
}

} // namespace

OBLAKO_SYSCALL(sys_select, do_select);
extern "C" long do_select(int limit, uint64_t* in, uint64_t* out, uint64_t* exceptional,
                          const timeval* app_timeout) {
  auto timeout = timeout_of(app_timeout);
  if (!timeout.ok())
    return to_syscall(timeout);
  return to_syscall(select(limit, {in, out, exceptional}, *timeout));
}

OBLAKO_SYSCALL(sys_pselect6, do_pselect6);
extern "C" long do_pselect6(int limit, uint64_t* in, uint64_t* out, uint64_t* exceptional,
                            const timespec* timeout, const mask_argument* mask) {
  return to_syscall(select_masked(limit, {in, out, exceptional}, timeout, mask));
}
