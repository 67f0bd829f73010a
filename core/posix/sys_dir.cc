// Directories: making, removing and reading them, and the working directory.
#include "arch/x64/syscall_entry.hh"
#include "core/posix/creation_mask.hh"
#include "core/posix/path_call.hh"
#include <unistd.h>

using namespace oblako;
using namespace oblako::fs;

namespace {

result<void> make_directory_at(int fd, const char* app_path, uint32_t mode) {
  path_string storage;
  const text path = TRY(storage.load(app_path));
  tree_guard guard(tree_lock);
  auto start = TRY(start_directory(fd, path));
  place p;
  TRY(walk(*start, path, last_link::name, p));
  if (p.target)
    return error::exist;
  const uint32_t bits = mode & 01777 & ~posix::creation_mask;
  TRY(p.directory->make(p.name(), {.mode = S_IFDIR | bits, .device = 0, .target = {}}));
  return {};
}

result<void> remove_directory_at(int fd, const char* app_path) {
  path_string storage;
  const text path = TRY(storage.load(app_path));
  tree_guard guard(tree_lock);
  auto start = TRY(start_directory(fd, path));
  place p;
  TRY(walk(*start, path, last_link::name, p));
  switch (p.last) {
  case last_component::dot_dot:
    return error::notempty;
  case last_component::dot:
    return error::inval;
  case last_component::root:
    return error::busy;
  case last_component::name:
    break;
  }
  if (!p.target)
    return error::noent;
  return p.directory->remove_directory(p.name());
}

result<void> change_directory(mem::ref<node> n) {
  if (!n->is_directory())
    return error::notdir;
  tree_guard guard(tree_lock);
  set_working_directory(std::move(n));
  return {};
}

result<void> change_to_path(const char* app_path) {
  return change_directory(TRY(posix::node_at(AT_FDCWD, app_path, 0, last_link::follow)));
}

result<void> change_to_descriptor(int fd) {
  auto f = TRY(posix::get_file(fd));
  if (!f->node())
    return error::notdir;
  return change_directory(mem::ref<node>::share(f->node()));
}

result<size_t> working_path(char* app_to, size_t size) {
  auto path = mem::unique<char>(static_cast<char*>(mem::allocate(path_limit)));
  if (!path)
    return error::nomem;
  size_t length;
  {
    tree_guard guard(tree_lock);
    length = TRY(path_of(working_directory(), path.get(), path_limit));
  }
  if (length > size)
    return error::range;
  TRY(mem::copy_to_app(app_to, path.get(), length));
  return length;
}

result<size_t> entries_of(int fd, void* app_to, size_t bytes) {
  auto f = TRY(posix::get_file(fd));
  auto to = TRY(mem::io_buffers::app(app_to, min_of<size_t>(bytes, 0x7fffffff)));
  return f->read_directory(to);
}

} // namespace

OBLAKO_SYSCALL(sys_mkdirat, do_mkdirat);
extern "C" long do_mkdirat(int fd, const char* path, unsigned mode) {
  return to_syscall(make_directory_at(fd, path, mode));
}

OBLAKO_SYSCALL(sys_mkdir, do_mkdir);
extern "C" long do_mkdir(const char* path, unsigned mode) {
  return do_mkdirat(AT_FDCWD, path, mode);
}

// unlinkat() with AT_REMOVEDIR
extern "C" long do_rmdir_at(int fd, const char* path) {
  return to_syscall(remove_directory_at(fd, path));
}

OBLAKO_SYSCALL(sys_rmdir, do_rmdir);
extern "C" long do_rmdir(const char* path) {
  return to_syscall(remove_directory_at(AT_FDCWD, path));
}

OBLAKO_SYSCALL(sys_getdents64, do_getdents64);
extern "C" long do_getdents64(int fd, void* to, size_t bytes) {
  return to_syscall(entries_of(fd, to, bytes));
}

OBLAKO_SYSCALL(sys_chdir, do_chdir);
extern "C" long do_chdir(const char* path) {
  return to_syscall(change_to_path(path));
}

OBLAKO_SYSCALL(sys_fchdir, do_fchdir);
extern "C" long do_fchdir(int fd) {
  return to_syscall(change_to_descriptor(fd));
}

OBLAKO_SYSCALL(sys_getcwd, do_getcwd);
extern "C" long do_getcwd(char* to, size_t size) {
  return to_syscall(working_path(to, size));
}
