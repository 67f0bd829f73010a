// read in all its forms. What a transfer means is the file's business.
#include "arch/x64/syscall_entry.hh"
#include "core/base/needs.hh"
#include "core/posix/file.hh"
#include "core/posix/io_vector.hh"

using namespace oblako;
using namespace oblako::posix;

namespace {

long bad_descriptor() {
  return -static_cast<long>(error::badf);
}

} // namespace

OBLAKO_SYSCALL_RESTARTABLE(sys_read, do_read);
extern "C" long do_read(int fd, void* to, size_t bytes) {
  OBLAKO_NEEDS(oblako_read_console);
  file* f = acquire_file(fd);
  if (!f) [[unlikely]]
    return bad_descriptor();
  auto buffers = mem::io_buffers::app(to, bytes);
  const long done =
      buffers.ok() ? to_syscall(f->read(*buffers)) : to_syscall(result<void>(buffers.code()));
  f->drop_reference();
  return done;
}

OBLAKO_SYSCALL_RESTARTABLE(sys_readv, do_readv);
extern "C" long do_readv(int fd, const iovec* vector, long count) {
  OBLAKO_NEEDS(oblako_read_console);
  auto f = get_file(fd);
  if (!f.ok())
    return bad_descriptor();
  io_vector v;
  auto buffers = v.load(vector, count);
  return buffers.ok() ? to_syscall((*f)->read(*buffers)) : to_syscall(result<void>(buffers.code()));
}

namespace {

result<size_t> read_at(int fd, result<mem::io_buffers> buffers, int64_t offset) {
  auto f = TRY(get_file(fd));
  auto to = TRY(std::move(buffers));
  if (offset < 0)
    return error::inval;
  return f->read_at(to, static_cast<uint64_t>(offset));
}

// The flags of preadv2/pwritev2 that ask for nothing we do not do anyway.
constexpr int harmless_flags = 0x1 | 0x2 | 0x4; // RWF_HIPRI, RWF_DSYNC, RWF_SYNC

} // namespace

OBLAKO_SYSCALL_RESTARTABLE(sys_pread64, do_pread64);
extern "C" long do_pread64(int fd, void* to, size_t bytes, int64_t offset) {
  return to_syscall(read_at(fd, mem::io_buffers::app(to, bytes), offset));
}

// The offset of the vector forms comes in two halves; on x86-64 the first holds all of it.
OBLAKO_SYSCALL_RESTARTABLE(sys_preadv, do_preadv);
extern "C" long do_preadv(int fd, const iovec* vector, long count, int64_t offset) {
  io_vector v;
  return to_syscall(read_at(fd, v.load(vector, count), offset));
}

OBLAKO_SYSCALL_RESTARTABLE(sys_preadv2, do_preadv2);
extern "C" long do_preadv2(int fd, const iovec* vector, long count, int64_t offset, long,
                           int flags) {
  if (flags & ~harmless_flags)
    return to_syscall(result<void>(error::opnotsupp));
  return offset == -1 ? do_readv(fd, vector, count) : do_preadv(fd, vector, count, offset);
}
