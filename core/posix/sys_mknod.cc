// mknod: FIFOs, and the names of sockets and devices.
#include "arch/x64/syscall_entry.hh"
#include "core/base/needs.hh"
#include "core/posix/creation_mask.hh"
#include "core/posix/path_call.hh"

using namespace oblako;
using namespace oblako::fs;

namespace {

result<void> make_special(int fd, const char* app_path, uint32_t mode, uint64_t device) {
  OBLAKO_NEEDS(oblako_open_fifo);
  if ((mode & S_IFMT) == 0)
    mode |= S_IFREG;
  if (S_ISDIR(mode) || S_ISLNK(mode))
    return error::perm;
  mode &= ~posix::creation_mask;
  path_string storage;
  const text path = TRY(storage.load(app_path));
  tree_guard guard(tree_lock);
  auto start = TRY(start_directory(fd, path));
  place p;
  TRY(walk(*start, path, last_link::name, p));
  if (p.target)
    return error::exist;
  if (p.wants_directory)
    return error::noent;
  TRY(p.directory->make(p.name(), {.mode = mode, .device = device, .target = {}}));
  return {};
}

} // namespace

OBLAKO_SYSCALL(sys_mknodat, do_mknodat);
extern "C" long do_mknodat(int fd, const char* path, unsigned mode, unsigned device) {
  return to_syscall(make_special(fd, path, mode, device));
}

OBLAKO_SYSCALL(sys_mknod, do_mknod);
extern "C" long do_mknod(const char* path, unsigned mode, unsigned device) {
  return to_syscall(make_special(AT_FDCWD, path, mode, device));
}
