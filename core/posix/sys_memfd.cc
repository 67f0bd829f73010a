// memfd_create: a file in memory that no name leads to.
#include "arch/x64/syscall_entry.hh"
#include "core/base/needs.hh"
#include "core/fs/tmpfs.hh"
#include <fcntl.h>

using namespace oblako;
using namespace oblako::posix;

namespace {

constexpr unsigned flag_cloexec = 1, flag_allow_sealing = 2; // MFD_*
constexpr size_t longest_name = 249;

result<int> create(const char* app_name, unsigned flags) {
  // What is opened can be locked (core/posix/file_locks.hh).
  OBLAKO_NEEDS(_ZN6oblako5posix18control_range_lockERNS0_4fileEiP5flock);
  if (flags & ~(flag_cloexec | flag_allow_sealing))
    return error::inval;
  char name[longest_name + 1];
  auto length = mem::string_from_app(name, sizeof name, app_name);
  if (!length.ok())
    return length.code() == error::nametoolong ? error::inval : length.code();
  auto n = TRY(mem::make_shared<fs::tmpfs_file>(S_IFREG | 0777u));
  auto f = TRY(n->open(O_RDWR));
  return install_file(std::move(f), flags & flag_cloexec ? close_on_exec::yes : close_on_exec::no);
}

} // namespace

OBLAKO_SYSCALL(sys_memfd_create, do_memfd_create);
extern "C" long do_memfd_create(const char* name, unsigned flags) {
  return to_syscall(create(name, flags));
}
