// chmod, chown and utimes.
#include "arch/x64/syscall_entry.hh"
#include "core/posix/path_call.hh"
#include "core/time/clock.hh"
#include <sys/time.h>
#include <utime.h>

using namespace oblako;
using fs::attribute_change;

namespace {

result<void> change_at(int fd, const char* app_path, int flags, const attribute_change& c) {
  auto n =
      TRY(posix::node_at(fd, app_path, flags, posix::follow_unless(flags, AT_SYMLINK_NOFOLLOW)));
  return n->change(c);
}

// Descriptors without a node (pipes, sockets) take the change and forget it.
result<void> change_descriptor(int fd, const attribute_change& c) {
  auto f = TRY(posix::get_file(fd));
  return f->node() ? f->node()->change(c) : result<void>();
}

attribute_change permissions(uint32_t mode) {
  attribute_change c;
  c.what = attribute_change::mode_bits;
  c.mode = mode & 07777;
  return c;
}

attribute_change ownership(uint32_t uid, uint32_t gid) {
  attribute_change c;
  c.what =
      (uid != ~0u ? attribute_change::owner : 0u) | (gid != ~0u ? attribute_change::group : 0u);
  c.uid = uid;
  c.gid = gid;
  return c;
}

timespec now() {
  timespec t{};
  const uint64_t ns = time::wall_ns();
  t.tv_sec = static_cast<time_t>(ns / time::ns_per_s);
  t.tv_nsec = static_cast<long>(ns % time::ns_per_s);
  return t;
}

// A null pointer means now, UTIME_NOW and UTIME_OMIT as on Linux. Errors: inval, fault.
result<attribute_change> times(const timespec* app_times) {
  attribute_change c;
  c.what = attribute_change::accessed | attribute_change::modified;
  c.access_time = c.modify_time = now();
  if (!app_times)
    return c;
  timespec given[2];
  TRY(mem::copy_from_app(given, app_times, sizeof given));
  timespec* const to[2] = {&c.access_time, &c.modify_time};
  for (unsigned i = 0; i < 2; ++i) {
    if (given[i].tv_nsec == UTIME_OMIT)
      c.what &= ~(i == 0 ? attribute_change::accessed : attribute_change::modified);
    else if (given[i].tv_nsec != UTIME_NOW &&
             (given[i].tv_nsec < 0 || given[i].tv_nsec >= 1'000'000'000))
      return error::inval;
    else if (given[i].tv_nsec != UTIME_NOW)
      *to[i] = given[i];
  }
  return c;
}

result<attribute_change> times(const timeval* app_times) {
  if (!app_times)
    return times(static_cast<const timespec*>(nullptr));
  timeval given[2];
  TRY(mem::copy_from_app(given, app_times, sizeof given));
  attribute_change c;
  c.what = attribute_change::accessed | attribute_change::modified;
  for (const timeval& t : given)
    if (t.tv_usec < 0 || t.tv_usec >= 1'000'000)
      return error::inval;
  c.access_time.tv_sec = given[0].tv_sec;
  c.access_time.tv_nsec = given[0].tv_usec * 1000;
  c.modify_time.tv_sec = given[1].tv_sec;
  c.modify_time.tv_nsec = given[1].tv_usec * 1000;
  return c;
}

result<attribute_change> times(const utimbuf* app_times) {
  if (!app_times)
    return times(static_cast<const timespec*>(nullptr));
  const auto given = TRY(mem::read_app(app_times));
  attribute_change c;
  c.what = attribute_change::accessed | attribute_change::modified;
  c.access_time.tv_sec = given.actime;
  c.modify_time.tv_sec = given.modtime;
  return c;
}

template <class Times>
result<void> set_times(int fd, const char* app_path, const Times* app_times, int flags) {
  const auto c = TRY(times(app_times));
  if (!app_path && fd != AT_FDCWD)
    return change_descriptor(fd, c);
  return change_at(fd, app_path, flags, c);
}

} // namespace

OBLAKO_SYSCALL(sys_chmod, do_chmod);
extern "C" long do_chmod(const char* path, unsigned mode) {
  return to_syscall(change_at(AT_FDCWD, path, 0, permissions(mode)));
}
OBLAKO_SYSCALL(sys_fchmod, do_fchmod);
extern "C" long do_fchmod(int fd, unsigned mode) {
  return to_syscall(change_descriptor(fd, permissions(mode)));
}
OBLAKO_SYSCALL(sys_fchmodat, do_fchmodat);
extern "C" long do_fchmodat(int fd, const char* path, unsigned mode) {
  return to_syscall(change_at(fd, path, 0, permissions(mode)));
}

OBLAKO_SYSCALL(sys_chown, do_chown);
extern "C" long do_chown(const char* path, unsigned uid, unsigned gid) {
  return to_syscall(change_at(AT_FDCWD, path, 0, ownership(uid, gid)));
}
OBLAKO_SYSCALL(sys_lchown, do_lchown);
extern "C" long do_lchown(const char* path, unsigned uid, unsigned gid) {
  return to_syscall(change_at(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, ownership(uid, gid)));
}
OBLAKO_SYSCALL(sys_fchown, do_fchown);
extern "C" long do_fchown(int fd, unsigned uid, unsigned gid) {
  return to_syscall(change_descriptor(fd, ownership(uid, gid)));
}
OBLAKO_SYSCALL(sys_fchownat, do_fchownat);
extern "C" long do_fchownat(int fd, const char* path, unsigned uid, unsigned gid, int flags) {
  return to_syscall(change_at(fd, path, flags, ownership(uid, gid)));
}

OBLAKO_SYSCALL(sys_utimensat, do_utimensat);
extern "C" long do_utimensat(int fd, const char* path, const timespec* times, int flags) {
  return to_syscall(set_times(fd, path, times, flags));
}
OBLAKO_SYSCALL(sys_futimesat, do_futimesat);
extern "C" long do_futimesat(int fd, const char* path, const timeval* times) {
  return to_syscall(set_times(fd, path, times, 0));
}
OBLAKO_SYSCALL(sys_utimes, do_utimes);
extern "C" long do_utimes(const char* path, const timeval* times) {
  return to_syscall(set_times(AT_FDCWD, path, times, 0));
}
OBLAKO_SYSCALL(sys_utime, do_utime);
extern "C" long do_utime(const char* path, const utimbuf* times) {
  return to_syscall(set_times(AT_FDCWD, path, times, 0));
}
