// Names: link, symlink, readlink, unlink, rename.
#include "arch/x64/syscall_entry.hh"
#include "core/posix/path_call.hh"

using namespace oblako;
using namespace oblako::fs;

namespace {

result<void> unlink_at(int fd, const char* app_path) {
  path_string storage;
  const text path = TRY(storage.load(app_path));
  mem::ref<node> removed; // outlives the lock: the last reference frees a file's pages
  tree_guard guard(tree_lock);
  auto start = TRY(start_directory(fd, path));
  place p;
  TRY(walk(*start, path, last_link::name, p));
  if (!p.target)
    return error::noent;
  if (!p.is_name() || p.target->is_directory())
    return error::isdir;
  if (p.wants_directory)
    return error::notdir;
  removed = p.target;
  return p.directory->unlink(p.name());
}

result<void> rename_at(int from_fd, const char* app_from, int to_fd, const char* app_to,
                       uint32_t flags) {
  if ((flags & ~(rename_noreplace | rename_exchange)) ||
      flags == (rename_noreplace | rename_exchange))
    return error::inval;
  path_string from_storage, to_storage;
  const text from_path = TRY(from_storage.load(app_from));
  const text to_path = TRY(to_storage.load(app_to));
  mem::ref<node> replaced; // outlives the lock
  tree_guard guard(tree_lock);
  auto from_start = TRY(start_directory(from_fd, from_path));
  auto to_start = TRY(start_directory(to_fd, to_path));
  place from, to;
  TRY(walk(*from_start, from_path, last_link::name, from));
  TRY(walk(*to_start, to_path, last_link::name, to));
  if (!from.is_name())
    return error::busy;
  if (!to.is_name())
    return flags & rename_noreplace ? error::exist : error::busy;
  if (!from.target)
    return error::noent;
  if ((flags & rename_noreplace) && to.target)
    return error::exist;
  if ((flags & rename_exchange) && !to.target)
    return error::noent;
  // A slash may only stand behind directories.
  const node& ends_up_there = flags & rename_exchange ? *to.target : *from.target;
  if ((from.wants_directory && !from.target->is_directory()) ||
      (to.wants_directory && !ends_up_there.is_directory()))
    return error::notdir;
  replaced = to.target;
  return from.directory->rename(from.name(), *to.directory, to.name(), flags);
}

result<void> link_at(int from_fd, const char* app_from, int to_fd, const char* app_to, int flags) {
  if (flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH))
    return error::inval;
  auto target = TRY(posix::node_at(
      from_fd, app_from, flags, flags & AT_SYMLINK_FOLLOW ? last_link::follow : last_link::keep));
  path_string storage;
  const text path = TRY(storage.load(app_to));
  tree_guard guard(tree_lock);
  auto start = TRY(start_directory(to_fd, path));
  place p;
  TRY(walk(*start, path, last_link::name, p));
  if (p.target)
    return error::exist;
  if (p.wants_directory)
    return error::noent;
  return p.directory->link(p.name(), *target);
}

result<void> symlink_at(const char* app_target, int fd, const char* app_path) {
  path_string target_storage, storage;
  const text target = TRY(target_storage.load(app_target));
  const text path = TRY(storage.load(app_path));
  if (target.size == 0)
    return error::noent;
  tree_guard guard(tree_lock);
  auto start = TRY(start_directory(fd, path));
  place p;
  TRY(walk(*start, path, last_link::name, p));
  if (p.target)
    return error::exist;
  if (p.wants_directory)
    return error::noent;
  TRY(p.directory->make(p.name(), {.mode = S_IFLNK | 0777, .device = 0, .target = target}));
  return {};
}

result<size_t> read_link_at(int fd, const char* app_path, char* app_to, size_t size) {
  if (static_cast<int>(size) <= 0)
    return error::inval;
  const int flags = fd == AT_FDCWD ? 0 : AT_EMPTY_PATH;
  auto n = TRY(posix::node_at(fd, app_path, flags, last_link::keep));
  auto target = mem::unique<char>(static_cast<char*>(mem::allocate(path_limit)));
  if (!target)
    return error::nomem;
  size_t length;
  {
    tree_guard guard(tree_lock);
    length = min_of(TRY(n->read_link(target.get(), path_limit)), size);
  }
  TRY(mem::copy_to_app(app_to, target.get(), length));
  return length;
}

} // namespace

OBLAKO_SYSCALL(sys_unlinkat, do_unlinkat);
extern "C" long do_rmdir_at(int fd, const char* path);
extern "C" long do_unlinkat(int fd, const char* path, int flags) {
  if (flags & ~AT_REMOVEDIR)
    return to_syscall(result<void>(error::inval));
  return flags & AT_REMOVEDIR ? do_rmdir_at(fd, path) : to_syscall(unlink_at(fd, path));
}

OBLAKO_SYSCALL(sys_unlink, do_unlink);
extern "C" long do_unlink(const char* path) {
  return to_syscall(unlink_at(AT_FDCWD, path));
}

OBLAKO_SYSCALL(sys_renameat2, do_renameat2);
extern "C" long do_renameat2(int from_fd, const char* from, int to_fd, const char* to,
                             unsigned flags) {
  return to_syscall(rename_at(from_fd, from, to_fd, to, flags));
}

OBLAKO_SYSCALL(sys_renameat, do_renameat);
extern "C" long do_renameat(int from_fd, const char* from, int to_fd, const char* to) {
  return to_syscall(rename_at(from_fd, from, to_fd, to, 0));
}

OBLAKO_SYSCALL(sys_rename, do_rename);
extern "C" long do_rename(const char* from, const char* to) {
  return to_syscall(rename_at(AT_FDCWD, from, AT_FDCWD, to, 0));
}

OBLAKO_SYSCALL(sys_linkat, do_linkat);
extern "C" long do_linkat(int from_fd, const char* from, int to_fd, const char* to, int flags) {
  return to_syscall(link_at(from_fd, from, to_fd, to, flags));
}

OBLAKO_SYSCALL(sys_link, do_link);
extern "C" long do_link(const char* from, const char* to) {
  return to_syscall(link_at(AT_FDCWD, from, AT_FDCWD, to, 0));
}

OBLAKO_SYSCALL(sys_symlinkat, do_symlinkat);
extern "C" long do_symlinkat(const char* target, int fd, const char* path) {
  return to_syscall(symlink_at(target, fd, path));
}

OBLAKO_SYSCALL(sys_symlink, do_symlink);
extern "C" long do_symlink(const char* target, const char* path) {
  return to_syscall(symlink_at(target, AT_FDCWD, path));
}

OBLAKO_SYSCALL(sys_readlinkat, do_readlinkat);
extern "C" long do_readlinkat(int fd, const char* path, char* to, size_t size) {
  return to_syscall(read_link_at(fd, path, to, size));
}

OBLAKO_SYSCALL(sys_readlink, do_readlink);
extern "C" long do_readlink(const char* path, char* to, size_t size) {
  return to_syscall(read_link_at(AT_FDCWD, path, to, size));
}
