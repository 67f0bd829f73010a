// open and its kin: from a path and flags to a descriptor.
#include "arch/x64/syscall_entry.hh"
#include "core/base/needs.hh"
#include "core/fs/node_files.hh"
#include "core/fs/path.hh"
#include "core/posix/creation_mask.hh"
#include <fcntl.h>

using namespace oblako;
using namespace oblako::fs;

namespace {

constexpr uint32_t tmpfile_bits = O_TMPFILE;
// Said once, at open; the rest stays with the file for F_GETFL.
constexpr uint32_t creation_flags = O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC;

bool writes(uint32_t flags) {
  return (flags & O_ACCMODE) != O_RDONLY;
}

new_node regular_with(uint32_t mode) {
  return {.mode = S_IFREG | (mode & 07777 & ~posix::creation_mask), .device = 0, .target = {}};
}

// The node to open; `created` if it did not exist before. Context: tree_lock held.
result<mem::ref<node>> find_or_create(node& start, text path, uint32_t flags, uint32_t mode,
                                      bool& created) {
  const bool creates = flags & O_CREAT, exclusive = creates && (flags & O_EXCL);
  const auto follow = exclusive || (flags & O_NOFOLLOW) ? last_link::keep : last_link::follow;
  place p;
  TRY(walk(start, path, follow, p,
           creates ? slash_behind_name::is_directory : slash_behind_name::allowed));
  if (p.target) {
    if (exclusive)
      return error::exist;
    if (p.wants_directory && !p.target->is_directory())
      return error::notdir;
    return std::move(p.target);
  }
  if (!creates)
    return error::noent;
  created = true;
  return p.directory->make(p.name(), regular_with(mode));
}

result<mem::ref<node>> unnamed_file(node& start, text path, uint32_t flags, uint32_t mode) {
  if (!writes(flags))
    return error::inval;
  place p;
  TRY(walk(start, path, last_link::follow, p));
  if (!p.target)
    return error::noent;
  if (!p.target->is_directory())
    return error::notdir;
  return p.target->make_unnamed(regular_with(mode).mode);
}

result<mem::ref<posix::file>> open_node(node& n, uint32_t flags, bool created) {
  if (flags & O_PATH)
    return open_path_only(n, flags & ~creation_flags);
  if (n.is_symlink())
    return error::loop; // only O_NOFOLLOW stops at one
  if (n.is_directory() && (writes(flags) || (flags & (O_CREAT | O_TRUNC))))
    return error::isdir;
  if ((flags & O_TRUNC) && !created && n.type() == S_IFREG)
    TRY(n.truncate(0));
  return n.open(flags & ~creation_flags);
}

result<int> open_at(int fd, const char* app_path, uint32_t flags, uint32_t mode) {
  // What is opened can be locked (core/posix/file_locks.hh).
  OBLAKO_NEEDS(_ZN6oblako5posix18control_range_lockERNS0_4fileEiP5flock);
  path_string storage;
  const text path = TRY(storage.load(app_path));
  if (flags & O_PATH)
    flags &= O_PATH | O_CLOEXEC | O_DIRECTORY | O_NOFOLLOW;
  mem::ref<node> target;
  bool created = false;
  {
    tree_guard guard(tree_lock);
    auto start = TRY(start_directory(fd, path));
    if ((flags & tmpfile_bits) == tmpfile_bits) {
      target = TRY(unnamed_file(*start, path, flags, mode));
      flags &= ~static_cast<uint32_t>(O_DIRECTORY);
      created = true;
    } else {
      target = TRY(find_or_create(*start, path, flags, mode, created));
    }
  }
  if ((flags & O_DIRECTORY) && !target->is_directory())
    return error::notdir;
  auto f = TRY(open_node(*target, flags, created));
  return posix::install_file(std::move(f), flags & O_CLOEXEC ? posix::close_on_exec::yes
                                                             : posix::close_on_exec::no);
}

} // namespace

OBLAKO_SYSCALL_RESTARTABLE(sys_openat, do_openat);
extern "C" long do_openat(int fd, const char* path, int flags, unsigned mode) {
  return to_syscall(open_at(fd, path, static_cast<uint32_t>(flags), mode));
}

OBLAKO_SYSCALL_RESTARTABLE(sys_open, do_open);
extern "C" long do_open(const char* path, int flags, unsigned mode) {
  return to_syscall(open_at(AT_FDCWD, path, static_cast<uint32_t>(flags), mode));
}

OBLAKO_SYSCALL_RESTARTABLE(sys_creat, do_creat);
extern "C" long do_creat(const char* path, unsigned mode) {
  return to_syscall(open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode));
}
