// What a kind of file does that a class does not say otherwise.
#include "core/posix/file.hh"
#include <sys/epoll.h>
#include <sys/stat.h>

namespace oblako::posix {

result<size_t> file::read(mem::io_buffers&) {
  return error::inval;
}
result<size_t> file::write(mem::io_buffers&) {
  return error::inval;
}
result<size_t> file::read_at(mem::io_buffers&, uint64_t) {
  return error::spipe;
}
result<size_t> file::write_at(mem::io_buffers&, uint64_t) {
  return error::spipe;
}
result<uint64_t> file::seek(int64_t, int) {
  return error::spipe;
}
result<long> file::control(unsigned long, void*) {
  return error::notty;
}
result<long> file::control_by_fcntl(int, unsigned long) {
  return error::inval;
}
result<void> file::truncate(uint64_t) {
  return error::inval;
}
result<void> file::sync() {
  return {};
}
result<size_t> file::read_directory(mem::io_buffers&) {
  return error::notdir;
}
result<void> file::allocate_range(int, uint64_t, uint64_t) {
  return error::nodev;
}
result<mem::page_source*> file::mapping_source() {
  return error::nodev;
}

result<void> file::status(struct stat& out) {
  out = {};
  out.st_mode = 0600; // as Linux's anonymous inodes: no type
  out.st_nlink = 1;
  out.st_blksize = page_size;
  return {};
}

uint32_t file::poll_events() {
  return EPOLLIN | EPOLLRDNORM | EPOLLOUT | EPOLLWRNORM;
}

result<int> install_file(mem::ref<file> f, close_on_exec c) {
  open_standard_files();
  const int fd = TRY(descriptors.install(f.get(), c == close_on_exec::yes));
  f.leak(); // the table's now
  return fd;
}

} // namespace oblako::posix
