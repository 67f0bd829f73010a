// sendfile and copy_file_range: from one file to another through a kernel buffer.
#include "arch/x64/syscall_entry.hh"
#include "core/posix/file.hh"
#include "core/posix/io_vector.hh"
#include "core/sched/thread.hh"
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace oblako;
using namespace oblako::posix;

namespace {

constexpr size_t chunk_size = 16 * 1024;

// Where one side of a transfer reads or writes: at an offset the application keeps, or at the
// file's own position (offset absent).
struct side {
  file& f;
  bool positioned;
  uint64_t offset;

  result<size_t> read(void* to, size_t bytes) {
    auto buffers = mem::io_buffers::kernel(to, bytes);
    return positioned ? f.read_at(buffers, offset) : f.read(buffers);
  }
  result<size_t> write(void* from, size_t bytes) {
    auto buffers = mem::io_buffers::kernel(from, bytes);
    return positioned ? f.write_at(buffers, offset) : f.write(buffers);
  }
};

// What was read and could not be written is given back to a file that has a position.
void give_back(side& in, size_t bytes) {
  if (!in.positioned && bytes)
    (void)in.f.seek(-static_cast<int64_t>(bytes), SEEK_CUR).ok();
}

result<size_t> transfer(side in, side out, size_t bytes) {
  bytes = min_of(bytes, max_transfer);
  if (bytes == 0)
    return size_t{0};
  auto buffer = mem::unique<uint8_t>(static_cast<uint8_t*>(mem::allocate(chunk_size)));
  if (!buffer)
    return error::nomem;
  size_t done = 0;
  while (done < bytes) {
    // At the file's own pace this may take minutes: a signal ends it, and others run.
    if (auto go_on = sched::interruption_point(); !go_on.ok())
      return done ? result<size_t>(done) : go_on.code();
    auto got = in.read(buffer.get(), min_of(chunk_size, bytes - done));
    if (!got.ok())
      return done ? result<size_t>(done) : got.code();
    if (*got == 0)
      break;
    auto put = out.write(buffer.get(), *got);
    const size_t written = put.ok() ? *put : 0;
    give_back(in, *got - written);
    in.offset += written;
    out.offset += written;
    done += written;
    if (!put.ok())
      return done ? result<size_t>(done) : put.code();
    if (written < *got)
      break;
  }
  return done;
}

result<side> side_of(file& f, const int64_t* app_offset) {
  if (!app_offset)
    return side{f, false, 0};
  const int64_t offset = TRY(mem::read_app(app_offset));
  if (offset < 0)
    return error::inval;
  return side{f, true, static_cast<uint64_t>(offset)};
}

result<void> advance(int64_t* app_offset, size_t by) {
  if (!app_offset)
    return {};
  return mem::write_app(app_offset, TRY(mem::read_app(app_offset)) + static_cast<int64_t>(by));
}

result<size_t> send_file(int out_fd, int in_fd, int64_t* app_in, size_t bytes) {
  auto in = TRY(get_file(in_fd));
  auto out = TRY(get_file(out_fd));
  if (!in->seek(0, SEEK_CUR).ok()) // what a pipe or socket gave could not be given back
    return error::inval;
  const size_t n = TRY(transfer(TRY(side_of(*in, app_in)), side{*out, false, 0}, bytes));
  TRY(advance(app_in, n));
  return n;
}

// Errors: isdir; inval (neither a regular file nor a directory).
result<struct stat> status_of_regular(file& f) {
  struct stat s;
  TRY(f.status(s));
  if (S_ISDIR(s.st_mode))
    return error::isdir;
  return f.node() && S_ISREG(s.st_mode) ? result<struct stat>(s) : error::inval;
}

// How many of `bytes` there are between the two sides' offsets and the source's end: what is
// written must not be read again. Errors: inval (a range would be copied onto itself).
result<size_t> available(side& from, const struct stat& source, side& to, const struct stat& target,
                         size_t bytes) {
  const uint64_t start = from.positioned ? from.offset : TRY(from.f.seek(0, SEEK_CUR));
  const uint64_t end = to.positioned ? to.offset : TRY(to.f.seek(0, SEEK_CUR));
  const auto size = static_cast<uint64_t>(source.st_size);
  bytes = static_cast<size_t>(min_of<uint64_t>(bytes, size > start ? size - start : 0));
  const bool same = source.st_ino == target.st_ino && source.st_dev == target.st_dev;
  if (same && start < end + bytes && end < start + bytes)
    return error::inval;
  return bytes;
}

result<size_t> copy_range(int in_fd, int64_t* app_in, int out_fd, int64_t* app_out, size_t bytes) {
  auto in = TRY(get_file(in_fd));
  auto out = TRY(get_file(out_fd));
  const struct stat source = TRY(status_of_regular(*in)), target = TRY(status_of_regular(*out));
  if (out->flags() & O_APPEND)
    return error::badf;
  auto from = TRY(side_of(*in, app_in));
  auto to = TRY(side_of(*out, app_out));
  const size_t n = TRY(transfer(from, to, TRY(available(from, source, to, target, bytes))));
  TRY(advance(app_in, n));
  TRY(advance(app_out, n));
  return n;
}

} // namespace

OBLAKO_SYSCALL_RESTARTABLE(sys_sendfile, do_sendfile);
extern "C" long do_sendfile(int out_fd, int in_fd, int64_t* offset, size_t bytes) {
  return to_syscall(send_file(out_fd, in_fd, offset, bytes));
}

OBLAKO_SYSCALL_RESTARTABLE(sys_copy_file_range, do_copy_file_range);
extern "C" long do_copy_file_range(int in_fd, int64_t* in_offset, int out_fd, int64_t* out_offset,
                                   size_t bytes, unsigned flags) {
  if (flags)
    return to_syscall(result<void>(error::inval));
  return to_syscall(copy_range(in_fd, in_offset, out_fd, out_offset, bytes));
}
