// Console input: what the console drivers hand in waits in a ring and is read line by line, as a
// terminal in canonical mode gives it. In images that read or poll at all. Echo and erase are the
// other end's: the terminal that a user types on, or nobody's where the input is a pipe.
//
// A line may be longer than the ring. When the ring is full, readers get what there is of the line,
// and the drivers leave further characters in their devices until something has been read. If
// nobody reads for a second, characters are dropped instead, so that ^C still gets through.
#include "core/log/console_input.hh"
#include "core/base/late.hh"
#include "core/log/log.hh"
#include "core/posix/console_file.hh"
#include "core/time/clock.hh"
#include "core/time/timer.hh"
#include <fcntl.h>
#include <sys/epoll.h>

// The serial driver's (core/log/console_input.cc); may be called again.
extern "C" void oblako_start_console_input();

using namespace oblako;
using namespace oblako::posix;

namespace {

constexpr uint32_t input_size = 4096; // power of two
// As many as Linux's canonical mode holds. The last place is for a character that the other driver
// had taken from its device when the ring became full.
constexpr uint32_t input_limit = input_size - 1;
constexpr char end_of_transmission = 4; // ^D

// The wait for a reader is counted in ticks: a machine whose host does not let it run for a while
// sees one late tick, and its readers have their turn before the next.
constexpr uint64_t tick_ns = time::ns_per_s / 4;
constexpr uint32_t patience = 4; // ticks

void on_tick(time::timer&);

// The ring is apart so that it lies in .bss. Positions count from the machine's start, modulo 2^32.
char input_ring[input_size];
struct console_input {
  sched::spinlock lock{sched::lock_rank::device};
  uint32_t head = 0;  // the next to be read
  uint32_t ready = 0; // the end of what may be read: behind a line, or where the ring was full
  uint32_t tail = 0;
  bool dropping = false;
  uint32_t ticks = 0; // since a source is held, or since the last read
  const log::console_source* held[log::max_console_sources] = {};
  bool tick_made = false;
};
constinit console_input input;
late<time::timer> tick;

bool full() {
  return input.tail - input.head >= input_limit;
}

bool line_ready() {
  return __atomic_load_n(&input.ready, __ATOMIC_SEQ_CST) !=
         __atomic_load_n(&input.head, __ATOMIC_SEQ_CST);
}

void make_ready() {
  __atomic_store_n(&input.ready, input.tail, __ATOMIC_SEQ_CST);
}

void wake_readers() {
  if (sched::wait_queue* readers = console_readiness())
    readers->wake_all(EPOLLIN | EPOLLRDNORM);
}

// Under the lock.
void hold(const log::console_source& source) {
  source.hold();
  for (auto*& place : input.held)
    if (!place || place == &source) {
      place = &source;
      break;
    }
  if (!input.tick_made)
    tick.construct(on_tick);
  input.tick_made = true;
  input.ticks = 0;
  tick->arm(time::monotonic_ns() + tick_ns);
}

void resume_sources() {
  for (auto*& place : input.held) {
    const log::console_source* source;
    {
      sched::spinlock_guard guard(input.lock);
      source = place;
      place = nullptr;
    }
    if (source)
      source->resume();
  }
}

void on_tick(time::timer& timer) {
  {
    sched::spinlock_guard guard(input.lock);
    if (!input.held[0])
      return;
    if (++input.ticks < patience) {
      timer.arm(time::monotonic_ns() + tick_ns);
      return;
    }
    input.dropping = true;
  }
  log::warning("console input is dropped: the application has not read for a second, and %u "
               "characters wait",
               input_limit);
  resume_sources();
}

struct taken {
  size_t bytes;
  bool line_ended;
};

// Takes up to `size` bytes, at most one line. Nothing but ^D is end of file; behind bytes of its
// line it only ends that line.
taken take_line(char* to, size_t size) {
  taken t{0, false};
  {
    sched::spinlock_guard guard(input.lock);
    uint32_t head = input.head;
    while (head != input.ready && t.bytes < size && !t.line_ended) {
      const char c = input_ring[head++ % input_size];
      if (c != end_of_transmission)
        to[t.bytes++] = c;
      t.line_ended = c == '\n' || c == end_of_transmission;
    }
    if (t.bytes && !t.line_ended && head != input.ready &&
        input_ring[head % input_size] == end_of_transmission) {
      ++head;
      t.line_ended = true;
    }
    __atomic_store_n(&input.head, head, __ATOMIC_SEQ_CST);
    input.ticks = 0;
    input.dropping = false;
    if (!input.held[0])
      return t;
  }
  resume_sources();
  return t;
}

// Up to a line, or what is ready of it, into the application's buffers.
result<size_t> take_to(mem::io_buffers& to, bool& ended) {
  size_t total = 0;
  while (to.remaining() && !ended) {
    char piece[256];
    const taken t = take_line(piece, min_of(sizeof piece, to.remaining()));
    ended = t.line_ended;
    if (t.bytes == 0)
      break;
    auto put = to.put(piece, t.bytes);
    if (!put.ok())
      return total ? result<size_t>(total) : put.code();
    total += *put;
  }
  return total;
}

} // namespace

extern "C" {

bool oblako_console_has_room(const log::console_source& source) {
  {
    sched::spinlock_guard guard(input.lock);
    if (!full() || input.dropping)
      return true;
    make_ready();
    hold(source);
  }
  wake_readers();
  return false;
}

void oblako_console_input(char c) {
  {
    sched::spinlock_guard guard(input.lock);
    c = c == '\r' ? '\n' : c;
    // Of what is dropped one line end is kept, so that the next line is one of its own.
    if (input.tail - input.head >= (input.dropping && c != '\n' ? input_limit : input_size))
      return;
    input_ring[input.tail++ % input_size] = c;
    if (c != '\n' && c != end_of_transmission)
      return;
    make_ready();
  }
  wake_readers();
}

bool oblako_console_line_ready() {
  oblako_start_console_input();
  return line_ready();
}

size_t oblako_console_bytes() {
  return __atomic_load_n(&input.ready, __ATOMIC_RELAXED) -
         __atomic_load_n(&input.head, __ATOMIC_RELAXED);
}

result<size_t> oblako_read_console(console_file& f, mem::io_buffers& to) {
  if (to.remaining() == 0)
    return size_t{0};
  for (;;) {
    if (!oblako_console_line_ready()) {
      if (f.flags() & O_NONBLOCK)
        return error::again;
      TRY(sched::wait_until(f.readiness(), line_ready));
    }
    bool ended = false;
    const size_t n = TRY(take_to(to, ended));
    if (n || ended)
      return n; // else another reader was faster
  }
}
}
