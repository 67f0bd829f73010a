// The console's output side, which goes to the log's console piece by piece, and the open file
// behind descriptors 0, 1 and 2.
#include "core/posix/console_file.hh"
#include "core/log/console.hh"
#include "core/sched/thread.hh"
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>

namespace oblako::posix {

namespace {

struct window_size {
  uint16_t rows, columns, x, y;
};

} // namespace

result<size_t> console_file::read(mem::io_buffers& to) {
  if ((flags() & O_ACCMODE) == O_WRONLY)
    return error::badf;
  return oblako_read_console ? oblako_read_console(*this, to) : result<size_t>(error::io);
}

result<size_t> console_file::write(mem::io_buffers& from) {
  size_t written = 0;
  while (from.remaining()) {
    char piece[512];
    auto n = from.get(piece, sizeof piece);
    if (!n.ok())
      return written ? result<size_t>(written) : n.code();
    if (*n == 0)
      break;
    log::console_write(piece, *n);
    written += *n;
    // A serial line is slow. What fits one piece is always written whole.
    if (from.remaining() && !sched::interruption_point().ok())
      break;
  }
  return written;
}

result<void> console_file::status(struct stat& out) {
  out = {};
  out.st_mode = S_IFCHR | 0620;
  out.st_nlink = 1;
  out.st_rdev = makedev(5, 1);
  out.st_blksize = 1024;
  return {};
}

// What isatty(), stdio and line editors ask. Settings are accepted and ignored: the line editing
// is done by the terminal on the other end of the serial line.
result<long> console_file::control(unsigned long request, void* app_argument) {
  switch (request) {
  case TIOCGWINSZ:
    TRY(mem::write_app(static_cast<window_size*>(app_argument), {24, 80, 0, 0}));
    return 0L;
  case TCGETS: {
    // The kernel's termios, a prefix of libc's: flags, line discipline, 19 control characters.
    struct {
      uint32_t input, output, control, local;
      uint8_t line, characters[19];
    } t{ICRNL,
        OPOST | ONLCR,
        CS8 | CREAD | B115200,
        ISIG | ICANON | ECHO,
        0,
        {3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0, 0, 0}};
    TRY(mem::copy_to_app(app_argument, &t, sizeof t));
    return 0L;
  }
  case TCSETS:
  case TCSETSW:
  case TCSETSF:
  case TIOCSWINSZ:
  case TCFLSH:
  case TCSBRK:
    return 0L;
  case TIOCGPGRP:
    TRY(mem::write_app(static_cast<int*>(app_argument), 1));
    return 0L;
  case FIONREAD:
    TRY(mem::write_app(static_cast<int*>(app_argument),
                       oblako_console_bytes ? static_cast<int>(oblako_console_bytes()) : 0));
    return 0L;
  }
  return error::notty;
}

uint32_t console_file::poll_events() {
  const bool line = oblako_console_line_ready && oblako_console_line_ready();
  return EPOLLOUT | EPOLLWRNORM | (line ? EPOLLIN | EPOLLRDNORM : 0);
}

namespace {
sched::mutex opening_lock;
bool standard_files_open;
console_file* the_console; // both written once under opening_lock; release, pairs with acquire
alignas(console_file) unsigned char console_storage[sizeof(console_file)];
} // namespace

mem::ref<file> console() {
  open_standard_files();
  return mem::ref<file>::share(the_console);
}

sched::wait_queue* console_readiness() {
  console_file* f = __atomic_load_n(&the_console, __ATOMIC_ACQUIRE);
  return f ? &f->readiness() : nullptr;
}

void open_standard_files() {
  if (__atomic_load_n(&standard_files_open, __ATOMIC_ACQUIRE))
    return;
  sched::lock_guard guard(opening_lock);
  if (standard_files_open)
    return;
  auto* f = ::new (static_cast<void*>(console_storage)) console_file(O_RDWR);
  for (int fd = 0; fd < 3; ++fd) {
    f->add_reference(); // the first reference stays for ever
    (void)descriptors.install(f, false).ok();
  }
  __atomic_store_n(&the_console, f, __ATOMIC_RELEASE);
  __atomic_store_n(&standard_files_open, true, __ATOMIC_RELEASE);
}

result<mem::ref<file>> missing_file(int fd) {
  if (static_cast<unsigned>(fd) < 3 && !__atomic_load_n(&standard_files_open, __ATOMIC_ACQUIRE)) {
    open_standard_files();
    if (file* f = descriptors.acquire(fd))
      return mem::ref<file>::adopt(f);
  }
  return error::badf;
}

} // namespace oblako::posix
