// Attributes that all nodes in memory have, and the small kinds of node.
#include "core/fs/tmpfs.hh"
#include "core/mem/frames.hh"
#include "core/time/clock.hh"
#include <sys/statfs.h>

namespace oblako::fs {

namespace {

const packed_root* image;
uint64_t next_ino; // counts up from behind the image's numbers

uint64_t new_ino() {
  constexpr uint64_t first = uint64_t{1} << 32;
  return first + __atomic_fetch_add(&next_ino, 1, __ATOMIC_RELAXED);
}

timespec to_timespec(uint64_t ns) {
  timespec t{};
  t.tv_sec = static_cast<time_t>(ns / time::ns_per_s);
  t.tv_nsec = static_cast<long>(ns % time::ns_per_s);
  return t;
}
uint64_t to_ns(const timespec& t) {
  return static_cast<uint64_t>(t.tv_sec) * time::ns_per_s + static_cast<uint64_t>(t.tv_nsec);
}

} // namespace

void set_tmpfs_image(const packed_root* i) {
  image = i;
}
const packed_root* tmpfs_image() {
  return image;
}

tmpfs_node::tmpfs_node(uint32_t mode, uint64_t ino)
    : node(mode), ino_(ino ? ino : new_ino()), accessed_(time::wall_ns()), modified_(accessed_),
      changed_(accessed_) {}

void tmpfs_node::note_modified() {
  modified_ = changed_ = time::wall_ns();
}

void tmpfs_node::count_link(int delta) {
  links_ = static_cast<uint32_t>(static_cast<int>(links_) + delta);
  changed_ = time::wall_ns();
}

result<void> tmpfs_node::status(struct stat& out) {
  fill_status(out, *this, ino_);
  out.st_nlink = links_;
  out.st_uid = uid_;
  out.st_gid = gid_;
  out.st_atim = to_timespec(accessed_);
  out.st_mtim = to_timespec(modified_);
  out.st_ctim = to_timespec(changed_);
  return {};
}

result<void> tmpfs_node::file_system_status(struct statfs& out) {
  const auto usage = mem::frame_usage();
  out = {};
  out.f_type = 0x01021994; // TMPFS_MAGIC
  out.f_bsize = out.f_frsize = page_size;
  out.f_blocks = usage.total_bytes / page_size;
  out.f_bfree = out.f_bavail = usage.free_bytes / page_size;
  out.f_files = out.f_ffree = usage.free_bytes / 1024;
  out.f_namelen = name_limit;
  return {};
}

result<void> tmpfs_node::change(const attribute_change& c) {
  if (c.what & attribute_change::mode_bits)
    set_permissions(c.mode);
  if (c.what & attribute_change::owner)
    uid_ = c.uid;
  if (c.what & attribute_change::group)
    gid_ = c.gid;
  if (c.what & attribute_change::accessed)
    accessed_ = to_ns(c.access_time);
  if (c.what & attribute_change::modified)
    modified_ = to_ns(c.modify_time);
  changed_ = time::wall_ns();
  return {};
}

result<void> tmpfs_symlink::status(struct stat& out) {
  TRY(tmpfs_node::status(out));
  out.st_size = static_cast<off_t>(target_.size);
  return {};
}

result<size_t> tmpfs_symlink::read_link(char* to, size_t size) {
  const size_t n = min_of(size, target_.size);
  __builtin_memcpy(to, target_.data, n);
  return n;
}

tmpfs_special::~tmpfs_special() {
  if (pipe_)
    pipe_->drop_reference();
}

result<void> tmpfs_special::status(struct stat& out) {
  TRY(tmpfs_node::status(out));
  out.st_rdev = rdev_;
  return {};
}

result<mem::ref<posix::file>> tmpfs_special::open(uint32_t flags) {
  if (type() == S_IFIFO && oblako_open_fifo)
    return oblako_open_fifo(pipe_, flags, *this);
  return error::nxio;
}

} // namespace oblako::fs
