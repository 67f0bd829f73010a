// write in all its forms. What a transfer means is the file's business.
#include "arch/x64/syscall_entry.hh"
#include "core/posix/file.hh"
#include "core/posix/io_vector.hh"
#include <fcntl.h>
#include <unistd.h>

using namespace oblako;
using namespace oblako::posix;

namespace {

long bad_descriptor() {
  return -static_cast<long>(error::badf);
}

} // namespace

OBLAKO_SYSCALL_RESTARTABLE(sys_write, do_write);
extern "C" long do_write(int fd, const void* from, size_t bytes) {
  file* f = acquire_file(fd);
  if (!f) [[unlikely]]
    return bad_descriptor();
  auto buffers = mem::io_buffers::app(const_cast<void*>(from), bytes);
  const long done =
      buffers.ok() ? to_syscall(f->write(*buffers)) : to_syscall(result<void>(buffers.code()));
  f->drop_reference();
  return done;
}

OBLAKO_SYSCALL_RESTARTABLE(sys_writev, do_writev);
extern "C" long do_writev(int fd, const iovec* vector, long count) {
  auto f = get_file(fd);
  if (!f.ok())
    return bad_descriptor();
  io_vector v;
  auto buffers = v.load(vector, count);
  return buffers.ok() ? to_syscall((*f)->write(*buffers))
                      : to_syscall(result<void>(buffers.code()));
}

namespace {

result<size_t> write_at(int fd, result<mem::io_buffers> buffers, int64_t offset) {
  auto f = TRY(get_file(fd));
  auto from = TRY(std::move(buffers));
  if (offset < 0)
    return error::inval;
  return f->write_at(from, static_cast<uint64_t>(offset));
}

// The flags of preadv2/pwritev2 that ask for nothing we do not do anyway.
constexpr int harmless_flags = 0x1 | 0x2 | 0x4; // RWF_HIPRI, RWF_DSYNC, RWF_SYNC

} // namespace

OBLAKO_SYSCALL_RESTARTABLE(sys_pwrite64, do_pwrite64);
extern "C" long do_pwrite64(int fd, const void* from, size_t bytes, int64_t offset) {
  return to_syscall(write_at(fd, mem::io_buffers::app(const_cast<void*>(from), bytes), offset));
}

// The offset of the vector forms comes in two halves; on x86-64 the first holds all of it.
OBLAKO_SYSCALL_RESTARTABLE(sys_pwritev, do_pwritev);
extern "C" long do_pwritev(int fd, const iovec* vector, long count, int64_t offset) {
  io_vector v;
  return to_syscall(write_at(fd, v.load(vector, count), offset));
}

OBLAKO_SYSCALL_RESTARTABLE(sys_pwritev2, do_pwritev2);
extern "C" long do_pwritev2(int fd, const iovec* vector, long count, int64_t offset, long,
                            int flags) {
  if (flags & ~harmless_flags)
    return to_syscall(result<void>(error::opnotsupp));
  return offset == -1 ? do_writev(fd, vector, count) : do_pwritev(fd, vector, count, offset);
}
