// stat and access for paths.
#include "arch/x64/syscall_entry.hh"
#include "core/posix/path_call.hh"
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

using namespace oblako;
using namespace oblako::posix;

namespace {

constexpr int stat_flags = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT;

// An empty path with AT_EMPTY_PATH asks the open file itself, which need not have a node.
bool asks_descriptor(int fd, const char* app_path, int flags) {
  if (!(flags & AT_EMPTY_PATH) || fd == AT_FDCWD)
    return false;
  if (!app_path)
    return true;
  auto first = mem::read_app(app_path);
  return first.ok() && *first == 0;
}

result<void> status_at(int fd, const char* app_path, int flags, struct stat& out) {
  if (asks_descriptor(fd, app_path, flags))
    return TRY(get_file(fd))->status(out);
  auto n = TRY(node_at(fd, app_path, flags, follow_unless(flags, AT_SYMLINK_NOFOLLOW)));
  return n->status(out);
}

result<void> stat_at(int fd, const char* app_path, struct stat* app_out, int flags) {
  if (flags & ~stat_flags)
    return error::inval;
  struct stat s;
  TRY(status_at(fd, app_path, flags, s));
  return mem::write_app(app_out, s);
}

// The layout of statx(2), which this libc's headers do not have yet.
struct extended_time {
  int64_t seconds;
  uint32_t nanoseconds;
  int32_t reserved;
};
struct extended_status {
  uint32_t mask, block_size;
  uint64_t attributes;
  uint32_t links, uid, gid;
  uint16_t mode, reserved;
  uint64_t ino, size, blocks, attributes_mask;
  extended_time accessed, born, changed, modified;
  uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
  uint64_t spare[14];
};
static_assert(sizeof(extended_status) == 256);
constexpr uint32_t basic_fields = 0x7ff; // STATX_BASIC_STATS

extended_time extended(const timespec& t) {
  return {t.tv_sec, static_cast<uint32_t>(t.tv_nsec), 0};
}

result<void> statx_at(int fd, const char* app_path, int flags, extended_status* app_out) {
  constexpr int sync_flags = 0x6000; // AT_STATX_SYNC_TYPE
  if (flags & ~(stat_flags | sync_flags))
    return error::inval;
  struct stat s;
  TRY(status_at(fd, app_path, flags, s));
  extended_status x{};
  x.mask = basic_fields;
  x.block_size = static_cast<uint32_t>(s.st_blksize);
  x.links = static_cast<uint32_t>(s.st_nlink);
  x.uid = s.st_uid;
  x.gid = s.st_gid;
  x.mode = static_cast<uint16_t>(s.st_mode);
  x.ino = s.st_ino;
  x.size = static_cast<uint64_t>(s.st_size);
  x.blocks = static_cast<uint64_t>(s.st_blocks);
  x.accessed = extended(s.st_atim);
  x.modified = extended(s.st_mtim);
  x.changed = extended(s.st_ctim);
  x.rdev_major = major(s.st_rdev);
  x.rdev_minor = minor(s.st_rdev);
  x.dev_major = major(s.st_dev);
  x.dev_minor = minor(s.st_dev);
  return mem::write_app(app_out, x);
}

// There is one user and it may do everything, except run what nobody may run.
result<void> access_at(int fd, const char* app_path, int wanted, int flags) {
  if (wanted & ~(R_OK | W_OK | X_OK))
    return error::inval;
  auto n = TRY(node_at(fd, app_path, flags, follow_unless(flags, AT_SYMLINK_NOFOLLOW)));
  if ((wanted & X_OK) && !n->is_directory() && !(n->mode() & 0111))
    return error::acces;
  return {};
}

} // namespace

OBLAKO_SYSCALL(sys_newfstatat, do_newfstatat);
extern "C" long do_newfstatat(int fd, const char* path, struct stat* out, int flags) {
  return to_syscall(stat_at(fd, path, out, flags));
}

OBLAKO_SYSCALL(sys_stat, do_stat);
extern "C" long do_stat(const char* path, struct stat* out) {
  return to_syscall(stat_at(AT_FDCWD, path, out, 0));
}

OBLAKO_SYSCALL(sys_lstat, do_lstat);
extern "C" long do_lstat(const char* path, struct stat* out) {
  return to_syscall(stat_at(AT_FDCWD, path, out, AT_SYMLINK_NOFOLLOW));
}

OBLAKO_SYSCALL(sys_statx, do_statx);
extern "C" long do_statx(int fd, const char* path, int flags, unsigned, extended_status* out) {
  return to_syscall(statx_at(fd, path, flags, out));
}

OBLAKO_SYSCALL(sys_access, do_access);
extern "C" long do_access(const char* path, int wanted) {
  return to_syscall(access_at(AT_FDCWD, path, wanted, 0));
}

OBLAKO_SYSCALL(sys_faccessat, do_faccessat);
extern "C" long do_faccessat(int fd, const char* path, int wanted) {
  return to_syscall(access_at(fd, path, wanted, 0));
}

OBLAKO_SYSCALL(sys_faccessat2, do_faccessat2);
extern "C" long do_faccessat2(int fd, const char* path, int wanted, int flags) {
  if (flags & ~(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
    return to_syscall(result<void>(error::inval));
  return to_syscall(access_at(fd, path, wanted, flags));
}
