// Descriptors themselves: close, dup and fcntl, and the requests every ioctl understands.
#include "arch/x64/syscall_entry.hh"
#include "core/posix/file.hh"
#include "core/posix/file_locks.hh"
#include "core/sched/thread.hh"
#include <fcntl.h>
#include <sys/ioctl.h>

using namespace oblako;
using namespace oblako::posix;

namespace {

constexpr unsigned close_range_cloexec = 4;
// What F_SETFL may change.
constexpr uint32_t settable_flags = O_APPEND | O_NONBLOCK | O_ASYNC | O_DIRECT | O_NOATIME;

// A number that the program gives up. Any close() of a file releases the process's locks of it.
void close_file(file* f) {
  if (drop_process_locks)
    drop_process_locks(*f);
  fd_table::dropped(f);
}

result<long> close_number(int fd) {
  file* f = descriptors.remove(fd);
  if (!f) {
    // 0, 1 and 2 exist from the program's point of view before anything has touched them.
    TRY(missing_file(fd));
    f = descriptors.remove(fd);
    if (!f)
      return error::badf;
  }
  close_file(f);
  return 0L;
}

result<int> duplicate(mem::ref<file> f, bool close_on_exec, uint32_t from) {
  open_standard_files();
  const int fd = TRY(descriptors.install(f.get(), close_on_exec, from));
  f.leak(); // the table's now
  return fd;
}

result<int> duplicate_to(int old_fd, int new_fd, bool close_on_exec) {
  auto f = TRY(get_file(old_fd));
  open_standard_files();
  file* replaced = TRY(descriptors.replace(new_fd, f.get(), close_on_exec));
  f.leak();
  if (replaced)
    close_file(replaced);
  return new_fd;
}

result<long> control_descriptor(int fd, int command, unsigned long argument) {
  auto f = TRY(get_file(fd));
  switch (command) {
  case F_DUPFD:
  case F_DUPFD_CLOEXEC: {
    if (argument >= descriptors.limit())
      return error::inval;
    return long{
        TRY(duplicate(std::move(f), command == F_DUPFD_CLOEXEC, static_cast<uint32_t>(argument)))};
  }
  case F_GETFD:
    return long{descriptors.close_on_exec(fd)};
  case F_SETFD:
    descriptors.set_close_on_exec(fd, argument & FD_CLOEXEC);
    return 0L;
  case F_GETFL:
    return static_cast<long>(f->flags());
  case F_SETFL:
    f->set_flags((f->flags() & ~settable_flags) |
                 (static_cast<uint32_t>(argument) & settable_flags));
    return 0L;
  case F_GETLK:
  case F_OFD_GETLK:
  case F_SETLK:
  case F_SETLKW:
  case F_OFD_SETLK:
  case F_OFD_SETLKW:
    if (!control_range_lock)
      return error::nolck;
    return control_range_lock(*f, command, reinterpret_cast<struct flock*>(argument));
  case F_SETOWN:
  case F_SETSIG:
    return 0L;
  case F_GETOWN:
  case F_GETSIG:
    return 0L;
  }
  return f->control_by_fcntl(command, argument);
}

result<void> set_flag(file& f, uint32_t flag, int* app_argument) {
  const int on = TRY(mem::read_app(app_argument));
  f.set_flags(on ? f.flags() | flag : f.flags() & ~flag);
  return {};
}

} // namespace

OBLAKO_SYSCALL(sys_close, do_close);
extern "C" long do_close(int fd) {
  return to_syscall(close_number(fd));
}

OBLAKO_SYSCALL(sys_close_range, do_close_range);
extern "C" long do_close_range(unsigned first, unsigned last, unsigned flags) {
  if (first > last || (flags & ~(close_range_cloexec | 2u)))
    return to_syscall(result<void>(error::inval));
  open_standard_files();
  for (int fd; (fd = descriptors.next_used(first, last)) >= 0;) {
    if (flags & close_range_cloexec)
      descriptors.set_close_on_exec(fd, true);
    else if (file* f = descriptors.remove(fd))
      close_file(f);
    first = static_cast<unsigned>(fd) + 1;
    sched::yield_if_needed();
  }
  return 0;
}

OBLAKO_SYSCALL(sys_dup, do_dup);
extern "C" long do_dup(int fd) {
  auto f = get_file(fd);
  if (!f.ok())
    return to_syscall(result<void>(f.code()));
  return to_syscall(duplicate(f.take(), false, 0));
}

OBLAKO_SYSCALL(sys_dup2, do_dup2);
extern "C" long do_dup2(int old_fd, int new_fd) {
  if (old_fd == new_fd) {
    auto f = get_file(old_fd);
    return f.ok() ? new_fd : to_syscall(result<void>(f.code()));
  }
  return to_syscall(duplicate_to(old_fd, new_fd, false));
}

OBLAKO_SYSCALL(sys_dup3, do_dup3);
extern "C" long do_dup3(int old_fd, int new_fd, int flags) {
  if (old_fd == new_fd || (flags & ~O_CLOEXEC))
    return to_syscall(result<void>(error::inval));
  return to_syscall(duplicate_to(old_fd, new_fd, flags & O_CLOEXEC));
}

OBLAKO_SYSCALL_RESTARTABLE(sys_fcntl, do_fcntl);
extern "C" long do_fcntl(int fd, int command, unsigned long argument) {
  return to_syscall(control_descriptor(fd, command, argument));
}

OBLAKO_SYSCALL_RESTARTABLE(sys_ioctl, do_ioctl);
extern "C" long do_ioctl(int fd, unsigned request, void* argument) {
  auto f = get_file(fd);
  if (!f.ok())
    return to_syscall(result<void>(f.code()));
  switch (request) {
  case FIONBIO:
    return to_syscall(set_flag(**f, O_NONBLOCK, static_cast<int*>(argument)));
  case FIOASYNC:
    return to_syscall(set_flag(**f, O_ASYNC, static_cast<int*>(argument)));
  case FIOCLEX:
  case FIONCLEX:
    descriptors.set_close_on_exec(fd, request == FIOCLEX);
    return 0;
  }
  return to_syscall((*f)->control(request, argument));
}

OBLAKO_SYSCALL(sys_lseek, do_lseek);
extern "C" long do_lseek(int fd, int64_t offset, int whence) {
  auto f = get_file(fd);
  return f.ok() ? to_syscall((*f)->seek(offset, whence)) : to_syscall(result<void>(f.code()));
}
