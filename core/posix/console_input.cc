// Console input: what the serial driver hands in waits in a ring and is read line by line, as a
// terminal in canonical mode gives it. In images that read or poll at all.
#include "core/log/console_input.hh"
#include "core/posix/console_file.hh"
#include <fcntl.h>
#include <sys/epoll.h>

// The serial driver's (core/log/console_input.cc); may be called again.
extern "C" void oblako_start_console_input();

using namespace oblako;
using namespace oblako::posix;

namespace {

constexpr uint32_t input_size = 1024;   // power of two
constexpr char end_of_transmission = 4; // ^D

// `lines` counts complete lines (and ^D) in the ring. The ring is apart so that it lies in .bss.
char input_ring[input_size];
struct console_input {
  sched::spinlock lock{sched::lock_rank::device};
  uint32_t head = 0, tail = 0, lines = 0;
};
constinit console_input input;

bool line_ready() {
  return __atomic_load_n(&input.lines, __ATOMIC_SEQ_CST) != 0;
}

// Takes up to `size` bytes, at most one line. Nothing but ^D before the line's end is end of file.
size_t take_line(char* to, size_t size) {
  sched::spinlock_guard guard(input.lock);
  size_t n = 0;
  while (input.head != input.tail && n < size) {
    const char c = input_ring[input.head++ % input_size];
    if (c != end_of_transmission)
      to[n++] = c;
    if (c == '\n' || c == end_of_transmission) {
      --input.lines;
      break;
    }
  }
  return n;
}

} // namespace

extern "C" {

void oblako_console_input(const char* bytes, size_t count) {
  {
    sched::spinlock_guard guard(input.lock);
    for (size_t i = 0; i < count && input.tail - input.head < input_size; ++i) {
      const char c = bytes[i] == '\r' ? '\n' : bytes[i];
      // A full ring without a line end would never be read: its last place is kept for one.
      if (input.tail - input.head == input_size - 1 && c != '\n')
        continue;
      input_ring[input.tail++ % input_size] = c;
      if (c == '\n' || c == end_of_transmission)
        ++input.lines;
    }
  }
  if (sched::wait_queue* readers = console_readiness())
    readers->wake_all(EPOLLIN | EPOLLRDNORM);
}

bool oblako_console_line_ready() {
  oblako_start_console_input();
  return line_ready();
}

size_t oblako_console_bytes() {
  return __atomic_load_n(&input.tail, __ATOMIC_RELAXED) -
         __atomic_load_n(&input.head, __ATOMIC_RELAXED);
}

result<size_t> oblako_read_console(console_file& f, mem::io_buffers& to) {
  if (to.remaining() == 0)
    return size_t{0};
  if (!oblako_console_line_ready()) {
    if (f.flags() & O_NONBLOCK)
      return error::again;
    TRY(sched::wait_until(f.readiness(), line_ready));
  }
  char line[256];
  const size_t n = take_line(line, min_of(sizeof line, to.remaining()));
  return n ? to.put(line, n) : result<size_t>(size_t{0});
}
}
