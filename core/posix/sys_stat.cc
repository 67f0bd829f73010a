// fstat: what a descriptor refers to. The calls that take a path are in sys_path.cc.
#include "arch/x64/syscall_entry.hh"
#include "core/posix/file.hh"
#include <sys/stat.h>

using namespace oblako;
using namespace oblako::posix;

namespace {

result<void> status_of(int fd, struct stat* app_out) {
  auto f = TRY(get_file(fd));
  struct stat s;
  TRY(f->status(s));
  return mem::write_app(app_out, s);
}

} // namespace

OBLAKO_SYSCALL(sys_fstat, do_fstat);
extern "C" long do_fstat(int fd, struct stat* out) {
  return to_syscall(status_of(fd, out));
}
