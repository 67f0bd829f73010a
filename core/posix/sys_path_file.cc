// truncate and statfs: what is done to a whole file or file system by its path.
#include "arch/x64/syscall_entry.hh"
#include "core/posix/path_call.hh"
#include <sys/statfs.h>

using namespace oblako;
using namespace oblako::posix;

namespace {

result<void> truncate_path(const char* app_path, int64_t size) {
  if (size < 0)
    return error::inval;
  auto n = TRY(node_at(AT_FDCWD, app_path, 0, fs::last_link::follow));
  if (n->is_directory())
    return error::isdir;
  return n->truncate(static_cast<uint64_t>(size));
}

result<void> report(fs::node& n, struct statfs* app_out) {
  struct statfs s;
  TRY(n.file_system_status(s));
  return mem::write_app(app_out, s);
}

result<void> statfs_path(const char* app_path, struct statfs* app_out) {
  return report(*TRY(node_at(AT_FDCWD, app_path, 0, fs::last_link::follow)), app_out);
}

result<void> statfs_descriptor(int fd, struct statfs* app_out) {
  auto f = TRY(get_file(fd));
  if (f->node())
    return report(*f->node(), app_out);
  fs::tree_guard guard(fs::tree_lock);
  return report(fs::root(), app_out);
}

} // namespace

OBLAKO_SYSCALL(sys_truncate, do_truncate);
extern "C" long do_truncate(const char* path, int64_t size) {
  return to_syscall(truncate_path(path, size));
}

OBLAKO_SYSCALL(sys_statfs, do_statfs);
extern "C" long do_statfs(const char* path, struct statfs* out) {
  return to_syscall(statfs_path(path, out));
}

OBLAKO_SYSCALL(sys_fstatfs, do_fstatfs);
extern "C" long do_fstatfs(int fd, struct statfs* out) {
  return to_syscall(statfs_descriptor(fd, out));
}
