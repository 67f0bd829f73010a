// sendfile and copy_file_range: from one file to another through a kernel buffer.
#include "arch/x64/syscall_entry.hh"
#include "core/posix/file.hh"
#include "core/posix/io_vector.hh"
#include "core/sched/thread.hh"

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
    sched::yield_if_needed();
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

result<size_t> copy(int in_fd, int64_t* app_in, int out_fd, int64_t* app_out, size_t bytes) {
  auto in = TRY(get_file(in_fd));
  auto out = TRY(get_file(out_fd));
  const auto from = TRY(side_of(*in, app_in));
  const auto to = TRY(side_of(*out, app_out));
  const size_t n = TRY(transfer(from, to, bytes));
  TRY(advance(app_in, n));
  TRY(advance(app_out, n));
  return n;
}

} // namespace

OBLAKO_SYSCALL_RESTARTABLE(sys_sendfile, do_sendfile);
extern "C" long do_sendfile(int out_fd, int in_fd, int64_t* offset, size_t bytes) {
  return to_syscall(copy(in_fd, offset, out_fd, nullptr, bytes));
}

OBLAKO_SYSCALL_RESTARTABLE(sys_copy_file_range, do_copy_file_range);
extern "C" long do_copy_file_range(int in_fd, int64_t* in_offset, int out_fd, int64_t* out_offset,
                                   size_t bytes, unsigned flags) {
  if (flags)
    return to_syscall(result<void>(error::inval));
  return to_syscall(copy(in_fd, in_offset, out_fd, out_offset, bytes));
}
