// What is done to an open file as a whole: its size, its space, its safety, advice about it.
#include "arch/x64/syscall_entry.hh"
#include "core/posix/file.hh"

using namespace oblako;
using namespace oblako::posix;

namespace {

result<void> truncate_descriptor(int fd, int64_t size) {
  if (size < 0)
    return error::inval;
  return TRY(get_file(fd))->truncate(static_cast<uint64_t>(size));
}

result<void> allocate(int fd, int mode, int64_t offset, int64_t bytes) {
  auto f = TRY(get_file(fd));
  if (offset < 0 || bytes <= 0)
    return error::inval;
  return f->allocate_range(mode, static_cast<uint64_t>(offset), static_cast<uint64_t>(bytes));
}

result<void> synchronize(int fd) {
  return TRY(get_file(fd))->sync();
}

// Advice: right descriptors are all there is to check.
result<void> check(int fd) {
  TRY(get_file(fd));
  return {};
}

} // namespace

OBLAKO_SYSCALL(sys_ftruncate, do_ftruncate);
extern "C" long do_ftruncate(int fd, int64_t size) {
  return to_syscall(truncate_descriptor(fd, size));
}

OBLAKO_SYSCALL(sys_fallocate, do_fallocate);
extern "C" long do_fallocate(int fd, int mode, int64_t offset, int64_t bytes) {
  return to_syscall(allocate(fd, mode, offset, bytes));
}

OBLAKO_SYSCALL(sys_fsync, do_fsync);
extern "C" long do_fsync(int fd) {
  return to_syscall(synchronize(fd));
}

OBLAKO_SYSCALL(sys_fdatasync, do_fdatasync);
extern "C" long do_fdatasync(int fd) {
  return to_syscall(synchronize(fd));
}

OBLAKO_SYSCALL(sys_syncfs, do_syncfs);
extern "C" long do_syncfs(int fd) {
  return to_syscall(synchronize(fd));
}

OBLAKO_SYSCALL(sys_sync_file_range, do_sync_file_range);
extern "C" long do_sync_file_range(int fd, int64_t, int64_t, unsigned) {
  return to_syscall(synchronize(fd));
}

// Nothing outlives the VM yet, so nothing waits to be written.
extern "C" long sys_sync() {
  return 0;
}

OBLAKO_SYSCALL(sys_fadvise64, do_fadvise64);
extern "C" long do_fadvise64(int fd, int64_t, int64_t, int) {
  return to_syscall(check(fd));
}

OBLAKO_SYSCALL(sys_readahead, do_readahead);
extern "C" long do_readahead(int fd, int64_t, size_t) {
  return to_syscall(check(fd));
}
