// getrandom.
#include "arch/x64/syscall_entry.hh"
#include "core/mem/app_memory.hh"
#include "core/random/random.hh"
#include "core/sched/thread.hh"

using namespace oblako;

namespace {

constexpr unsigned known_flags = 7; // GRND_NONBLOCK, GRND_RANDOM, GRND_INSECURE

result<size_t> random_into(void* app_to, size_t bytes, unsigned flags) {
  if (flags & ~known_flags)
    return error::inval;
  bytes = min_of<size_t>(bytes, 0x1ffffff); // what Linux gives at most
  auto to = TRY(mem::io_buffers::app(app_to, bytes));
  uint8_t piece[256];
  for (size_t done = 0; done < bytes;) {
    const size_t n = min_of(bytes - done, sizeof piece);
    random::fill(piece, n);
    auto put = to.put(piece, n);
    if (!put.ok())
      return done ? result<size_t>(done) : put.code();
    done += *put;
    if (*put < n)
      return done;
    // As on Linux a signal ends the call between pages: what fits one page is always given whole.
    if (done % page_size == 0 && !sched::interruption_point().ok())
      return done;
  }
  return bytes;
}

} // namespace

OBLAKO_SYSCALL(sys_getrandom, do_getrandom);
extern "C" long do_getrandom(void* to, size_t bytes, unsigned flags) {
  return to_syscall(random_into(to, bytes, flags));
}
