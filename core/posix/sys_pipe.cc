// pipe and pipe2.
#include "arch/x64/syscall_entry.hh"
#include "core/posix/pipe.hh"
#include <fcntl.h>

using namespace oblako;
using namespace oblako::posix;

namespace {

void uninstall(int fd) {
  if (file* f = descriptors.remove(fd))
    fd_table::dropped(f);
}

result<void> make_pipe(int* app_fds, int flags) {
  if (flags & ~(O_CLOEXEC | O_NONBLOCK | O_DIRECT))
    return error::inval;
  if (flags & O_DIRECT) // packet mode
    return error::inval;
  const auto status = static_cast<uint32_t>(flags & O_NONBLOCK);
  const auto cloexec = flags & O_CLOEXEC ? close_on_exec::yes : close_on_exec::no;
  auto p = TRY(mem::make_shared<pipe_buffer>());
  auto reader = TRY(mem::make_shared<pipe_end>(*p, status | O_RDONLY, mem::ref<mem::counted>()));
  auto writer = TRY(mem::make_shared<pipe_end>(*p, status | O_WRONLY, mem::ref<mem::counted>()));
  int fds[2];
  fds[0] = TRY(install_file(std::move(reader), cloexec));
  auto second = install_file(std::move(writer), cloexec);
  if (!second.ok()) {
    uninstall(fds[0]);
    return second.code();
  }
  fds[1] = *second;
  auto written = mem::copy_to_app(app_fds, fds, sizeof fds);
  if (!written.ok()) {
    uninstall(fds[0]);
    uninstall(fds[1]);
  }
  return written;
}

} // namespace

OBLAKO_SYSCALL(sys_pipe, do_pipe);
extern "C" long do_pipe(int* fds) {
  return to_syscall(make_pipe(fds, 0));
}

OBLAKO_SYSCALL(sys_pipe2, do_pipe2);
extern "C" long do_pipe2(int* fds, int flags) {
  return to_syscall(make_pipe(fds, flags));
}
