// User and group identity. Nobody else is in this machine, so the numbers protect nothing; they are
// recorded, so that daemons which drop privileges see what they asked for. Leaf calls.
#include "core/base/result.hh"
#include "core/mem/app_memory.hh"

using namespace oblako;

namespace {

struct identity {
  uint32_t real, effective, saved, file_system;

  // -1 leaves a number as it is.
  void set(uint32_t r, uint32_t e, uint32_t s) {
    constexpr uint32_t keep = ~0u;
    if (r != keep)
      real = r;
    if (e != keep)
      effective = file_system = e;
    if (s != keep)
      saved = s;
  }
  result<void> get(uint32_t* r, uint32_t* e, uint32_t* s) const {
    TRY(mem::write_app(r, real));
    TRY(mem::write_app(e, effective));
    return mem::write_app(s, saved);
  }
};

constexpr size_t most_groups = 64;

identity user, group;
uint32_t groups[most_groups];
size_t group_count;

} // namespace

extern "C" {

long sys_getuid() { return user.real; }
long sys_geteuid() { return user.effective; }
long sys_getgid() { return group.real; }
long sys_getegid() { return group.effective; }

long sys_setuid(uint32_t id) {
  user.set(id, id, id);
  return 0;
}
long sys_setgid(uint32_t id) {
  group.set(id, id, id);
  return 0;
}
long sys_setreuid(uint32_t r, uint32_t e) {
  user.set(r, e, e);
  return 0;
}
long sys_setregid(uint32_t r, uint32_t e) {
  group.set(r, e, e);
  return 0;
}
long sys_setresuid(uint32_t r, uint32_t e, uint32_t s) {
  user.set(r, e, s);
  return 0;
}
long sys_setresgid(uint32_t r, uint32_t e, uint32_t s) {
  group.set(r, e, s);
  return 0;
}
long sys_getresuid(uint32_t* r, uint32_t* e, uint32_t* s) { return to_syscall(user.get(r, e, s)); }
long sys_getresgid(uint32_t* r, uint32_t* e, uint32_t* s) { return to_syscall(group.get(r, e, s)); }

// These two return what it was.
long sys_setfsuid(uint32_t id) {
  const uint32_t was = user.file_system;
  if (id != ~0u)
    user.file_system = id;
  return was;
}
long sys_setfsgid(uint32_t id) {
  const uint32_t was = group.file_system;
  if (id != ~0u)
    group.file_system = id;
  return was;
}

long sys_getgroups(int size, uint32_t* list) {
  if (size == 0)
    return static_cast<long>(group_count);
  if (size < 0 || static_cast<size_t>(size) < group_count)
    return -static_cast<long>(error::inval);
  if (auto r = mem::copy_to_app(list, groups, group_count * sizeof(groups[0])); !r.ok())
    return to_syscall(r);
  return static_cast<long>(group_count);
}
long sys_setgroups(size_t count, const uint32_t* list) {
  if (count > most_groups)
    return -static_cast<long>(error::inval);
  uint32_t wanted[most_groups];
  if (auto r = mem::copy_from_app(wanted, list, count * sizeof(wanted[0])); !r.ok())
    return to_syscall(r);
  __builtin_memcpy(groups, wanted, count * sizeof(groups[0]));
  group_count = count;
  return 0;
}
}
