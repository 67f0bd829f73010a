#include "core/fs/node_files.hh"
#include "core/fs/tmpfs.hh"
#include "core/sched/thread.hh"
#include <dirent.h>
#include <fcntl.h>
#include <sys/ioctl.h>

namespace oblako::fs {

namespace {

using guard = sched::lock_guard<sched::mutex>;

bool may_read(uint32_t flags) {
  return (flags & O_ACCMODE) != O_WRONLY;
}
bool may_write(uint32_t flags) {
  return (flags & O_ACCMODE) != O_RDONLY;
}

// The new position, from where lseek counts.
result<uint64_t> moved_position(uint64_t position, uint64_t size, int64_t offset, int whence) {
  constexpr int seek_data = 3, seek_hole = 4;
  uint64_t base = 0;
  switch (whence) {
  case SEEK_SET:
    break;
  case SEEK_CUR:
    base = position;
    break;
  case SEEK_END:
    base = size;
    break;
  case seek_data: // every byte counts as data, and a hole begins at the end
  case seek_hole:
    if (offset < 0 || static_cast<uint64_t>(offset) >= size)
      return error::nxio;
    return whence == seek_data ? static_cast<uint64_t>(offset) : size;
  default:
    return error::inval;
  }
  int64_t sum;
  if (__builtin_add_overflow(static_cast<int64_t>(base), offset, &sum))
    return error::overflow;
  if (sum < 0)
    return error::inval;
  return static_cast<uint64_t>(sum);
}

class regular_file final : public posix::file {
public:
  regular_file(tmpfs_file& n, uint32_t flags)
      : file(flags), node_(mem::ref<tmpfs_file>::share(&n)) {}

  result<size_t> read(mem::io_buffers& to) override {
    if (!may_read(flags()))
      return error::badf;
    guard g(position_lock_);
    const size_t n = TRY(node_->read_at(to, position_));
    position_ += n;
    return n;
  }
  result<size_t> write(mem::io_buffers& from) override {
    if (!may_write(flags()))
      return error::badf;
    guard g(position_lock_);
    uint64_t end = position_;
    const size_t n = TRY(node_->write_at(from, position_, flags() & O_APPEND, end));
    position_ = end;
    return n;
  }
  result<size_t> read_at(mem::io_buffers& to, uint64_t offset) override {
    if (!may_read(flags()))
      return error::badf;
    return node_->read_at(to, offset);
  }
  result<size_t> write_at(mem::io_buffers& from, uint64_t offset) override {
    if (!may_write(flags()))
      return error::badf;
    uint64_t end;
    // As on Linux, O_APPEND wins over the offset.
    return node_->write_at(from, offset, flags() & O_APPEND, end);
  }
  result<uint64_t> seek(int64_t offset, int whence) override {
    guard g(position_lock_);
    position_ = TRY(moved_position(position_, node_->size(), offset, whence));
    return uint64_t{position_};
  }
  result<void> status(struct stat& out) override { return node_->status(out); }
  result<void> truncate(uint64_t size) override {
    return may_write(flags()) ? node_->truncate(size) : error::inval;
  }
  result<void> allocate_range(int mode, uint64_t offset, uint64_t bytes) override {
    return may_write(flags()) ? node_->allocate_range(mode, offset, bytes) : error::badf;
  }
  result<long> control(unsigned long request, void* app_argument) override {
    if (request != FIONREAD)
      return error::notty;
    guard g(position_lock_);
    const uint64_t size = node_->size();
    const uint64_t left = size > position_ ? size - position_ : 0;
    TRY(mem::write_app(static_cast<int*>(app_argument),
                       static_cast<int>(min_of<uint64_t>(left, 0x7fffffff))));
    return 0L;
  }
  result<mem::page_source*> mapping_source() override {
    if (!may_read(flags()))
      return error::acces;
    static_cast<mem::page_source&>(*node_).add_reference();
    return static_cast<mem::page_source*>(node_.get());
  }
  fs::node* node() override { return node_.get(); }

private:
  const mem::ref<tmpfs_file> node_;
  sched::mutex position_lock_;
  uint64_t position_ = 0; // guarded by position_lock_
};

// A getdents64 record as the application sees it; the name follows, zero-terminated.
struct record_header {
  uint64_t ino;
  uint64_t next_position;
  uint16_t length;
  uint8_t type;
} __attribute__((packed));
static_assert(sizeof(record_header) == offsetof(struct dirent, d_name));

class directory_file final : public posix::file {
public:
  directory_file(fs::node& n, uint32_t flags) : file(flags), node_(mem::ref<fs::node>::share(&n)) {}

  result<size_t> read(mem::io_buffers&) override { return error::isdir; }
  result<size_t> write(mem::io_buffers&) override { return error::badf; }
  result<size_t> read_at(mem::io_buffers&, uint64_t) override { return error::isdir; }
  result<size_t> write_at(mem::io_buffers&, uint64_t) override { return error::badf; }
  result<uint64_t> seek(int64_t offset, int whence) override {
    guard g(position_lock_);
    if (whence == SEEK_CUR)
      offset += static_cast<int64_t>(position_);
    else if (whence != SEEK_SET)
      return error::inval;
    if (offset < 0)
      return error::inval;
    position_ = static_cast<uint64_t>(offset);
    return uint64_t{position_};
  }
  result<void> status(struct stat& out) override { return node_->status(out); }
  result<size_t> read_directory(mem::io_buffers& to) override;
  fs::node* node() override { return node_.get(); }

private:
  // The next entry's record; its length, 0 at the end. Moves `position` past it.
  result<size_t> next_record(uint64_t& position, char (&record)[280]);

  const mem::ref<fs::node> node_;
  sched::mutex position_lock_;
  uint64_t position_ = 0; // guarded by position_lock_; 0 ".", 1 "..", then the node's positions
};

result<size_t> directory_file::next_record(uint64_t& position, char (&record)[280]) {
  tree_guard tree(tree_lock);
  directory_entry e{};
  if (position < 2) {
    struct stat s;
    auto up = position == 1 ? node_->parent() : mem::ref<fs::node>();
    TRY((up ? *up : *node_).status(s));
    e = {position == 0 ? text(".") : text(".."), s.st_ino, S_IFDIR};
    position = position == 0 ? 1 : 2;
  } else if (!TRY(node_->list(position, e))) {
    return size_t{0};
  }
  const size_t length = align_up(sizeof(record_header) + e.name.size + 1, 8);
  const record_header h{e.ino, position, static_cast<uint16_t>(length),
                        static_cast<uint8_t>((e.mode & S_IFMT) >> 12)};
  __builtin_memset(record, 0, length);
  __builtin_memcpy(record, &h, sizeof h);
  __builtin_memcpy(record + sizeof h, e.name.data, e.name.size);
  return length;
}

result<size_t> directory_file::read_directory(mem::io_buffers& to) {
  guard g(position_lock_);
  size_t done = 0;
  for (;;) {
    char record[280];
    uint64_t position = position_;
    const size_t n = TRY(next_record(position, record));
    if (n == 0)
      return done;
    if (n > to.remaining())
      return done ? result<size_t>(done) : error::inval;
    if (!to.put_whole(record, n).ok())
      return done ? result<size_t>(done) : error::fault;
    position_ = position;
    done += n;
    sched::yield_if_needed();
  }
}

// Names a node without opening it: for fstat(), fchdir() and as a starting point of *at() calls.
class path_only_file final : public posix::file {
public:
  path_only_file(fs::node& n, uint32_t flags) : file(flags), node_(mem::ref<fs::node>::share(&n)) {}
  result<size_t> read(mem::io_buffers&) override { return error::badf; }
  result<size_t> write(mem::io_buffers&) override { return error::badf; }
  result<size_t> read_at(mem::io_buffers&, uint64_t) override { return error::badf; }
  result<size_t> write_at(mem::io_buffers&, uint64_t) override { return error::badf; }
  result<uint64_t> seek(int64_t, int) override { return error::badf; }
  result<long> control(unsigned long, void*) override { return error::badf; }
  result<void> truncate(uint64_t) override { return error::badf; }
  result<void> sync() override { return error::badf; }
  result<void> status(struct stat& out) override { return node_->status(out); }
  fs::node* node() override { return node_.get(); }

private:
  const mem::ref<fs::node> node_;
};

template <class File, class Node>
result<mem::ref<posix::file>> opened(Node& n, uint32_t flags) {
  return mem::ref<posix::file>(TRY(mem::make_shared<File>(n, flags)));
}

} // namespace

result<mem::ref<posix::file>> open_regular(tmpfs_file& n, uint32_t flags) {
  return opened<regular_file>(n, flags);
}
result<mem::ref<posix::file>> open_directory(node& n, uint32_t flags) {
  return opened<directory_file>(n, flags);
}
result<mem::ref<posix::file>> open_path_only(node& n, uint32_t flags) {
  return opened<path_only_file>(n, flags);
}

} // namespace oblako::fs
