// /dev: the memory devices, random numbers, and the names of the console.
#include "core/fs/pseudo.hh"
#include "core/mem/areas.hh"
#include "core/posix/console_file.hh"
#include "core/random/random.hh"
#include "core/sched/thread.hh"
#include <fcntl.h>
#include <sys/sysmacros.h>

namespace oblako::fs {

namespace {

enum class device { null, zero, full, random };

constexpr uint32_t number_of(device d) {
  switch (d) {
  case device::null:
    return makedev(1, 3);
  case device::zero:
    return makedev(1, 5);
  case device::full:
    return makedev(1, 7);
  case device::random:
    break;
  }
  return makedev(1, 9);
}

// What a mapping of /dev/zero is filled from.
class zero_pages final : public mem::page_source {
public:
  void add_reference() override {}
  void drop_reference() override {}
  result<void> read_page(uint64_t, void* to) override {
    __builtin_memset(to, 0, page_size);
    return {};
  }
};
constinit zero_pages zeros;

template <device Kind>
class memory_device final : public posix::file {
public:
  using file::file;

  result<size_t> read(mem::io_buffers& to) override {
    if ((flags() & O_ACCMODE) == O_WRONLY)
      return error::badf;
    if constexpr (Kind == device::null)
      return size_t{0};
    else if constexpr (Kind == device::random)
      return read_random(to);
    else
      return read_zeros(to);
  }
  result<size_t> write(mem::io_buffers& from) override {
    if ((flags() & O_ACCMODE) == O_RDONLY)
      return error::badf;
    const size_t n = from.remaining();
    if constexpr (Kind == device::full)
      return n ? result<size_t>(error::nospc) : result<size_t>(n);
    from.skip(n);
    return n;
  }
  result<size_t> read_at(mem::io_buffers& to, uint64_t) override { return read(to); }
  result<size_t> write_at(mem::io_buffers& from, uint64_t) override { return write(from); }
  result<mem::page_source*> mapping_source() override {
    if constexpr (Kind == device::zero)
      return static_cast<mem::page_source*>(&zeros);
    return error::nodev;
  }
  result<uint64_t> seek(int64_t, int) override { return uint64_t{0}; }
  result<void> status(struct stat& out) override {
    out = {};
    out.st_mode = S_IFCHR | 0666;
    out.st_nlink = 1;
    out.st_rdev = number_of(Kind);
    out.st_blksize = page_size;
    return {};
  }

private:
  static result<size_t> read_random(mem::io_buffers& to) {
    return read_in_pieces(to, [&to](size_t bytes) {
      uint8_t piece[1024];
      const size_t n = min_of(bytes, sizeof piece);
      random::fill(piece, n);
      return to.put(piece, n);
    });
  }
  static result<size_t> read_zeros(mem::io_buffers& to) {
    return read_in_pieces(to, [&to](size_t bytes) { return to.put_zeros(bytes); });
  }
  // Calls put(bytes) with what is wanted, a page at most; it says how much it put. As on Linux, a
  // signal ends a read after any whole page: what fits one page is always given whole.
  template <class Put>
  static result<size_t> read_in_pieces(mem::io_buffers& to, Put put) {
    size_t done = 0;
    while (to.remaining()) {
      const size_t wanted = min_of(to.remaining(), page_size - done % page_size);
      auto moved = put(wanted);
      if (!moved.ok())
        return done ? result<size_t>(done) : moved.code();
      if (*moved == 0)
        break;
      done += *moved;
      if (done % page_size == 0 && !sched::interruption_point().ok())
        break;
    }
    return done;
  }
};

template <device Kind>
result<mem::ref<posix::file>> open_device(uint32_t flags) {
  return mem::ref<posix::file>(TRY(mem::make_shared<memory_device<Kind>>(flags)));
}

result<mem::ref<posix::file>> open_console(uint32_t) {
  return posix::console();
}

constexpr uint32_t device_mode = S_IFCHR | 0666;
constexpr uint32_t link_mode = S_IFLNK | 0777;

constexpr pseudo_entry entries[] = {
    {.path = "null",
     .mode = device_mode,
     .device_number = number_of(device::null),
     .open = open_device<device::null>},
    {.path = "zero",
     .mode = device_mode,
     .device_number = number_of(device::zero),
     .open = open_device<device::zero>},
    {.path = "full",
     .mode = device_mode,
     .device_number = number_of(device::full),
     .open = open_device<device::full>},
    {.path = "random",
     .mode = device_mode,
     .device_number = makedev(1, 8),
     .open = open_device<device::random>},
    {.path = "urandom",
     .mode = device_mode,
     .device_number = number_of(device::random),
     .open = open_device<device::random>},
    {.path = "console",
     .mode = S_IFCHR | 0600,
     .device_number = makedev(5, 1),
     .open = open_console},
    {.path = "tty", .mode = device_mode, .device_number = makedev(5, 0), .open = open_console},
    {.path = "fd", .mode = link_mode, .constant = "/proc/self/fd"},
    {.path = "stdin", .mode = link_mode, .constant = "/proc/self/fd/0"},
    {.path = "stdout", .mode = link_mode, .constant = "/proc/self/fd/1"},
    {.path = "stderr", .mode = link_mode, .constant = "/proc/self/fd/2"},
    {.path = "shm", .mode = link_mode, .constant = "/run/shm"}, // this tree holds no files
};

} // namespace

constinit const pseudo_tree dev_tree{"/dev", 0x11, entries, sizeof entries / sizeof entries[0]};

} // namespace oblako::fs
