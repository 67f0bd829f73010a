// Who runs: user and group ids, capabilities, children. There is one process that may do anything;
// a program that gives up rights is told that it has, and finds what it set when it asks.
#include "arch/x64/syscall_entry.hh"
#include "core/mem/app_memory.hh"
#include "core/sched/wait.hh"

using namespace oblako;

namespace {

// Real, effective, saved.
struct identity {
  uint32_t real = 0, effective = 0, saved = 0;
};
identity user, group;

constexpr uint32_t unchanged = ~0u;
constexpr size_t most_groups = 64; // Linux has 65536; nothing here asks for more than a few
sched::mutex groups_lock;
uint32_t groups[most_groups]; // guarded by groups_lock
size_t group_count;

long set(identity& i, uint32_t real, uint32_t effective, uint32_t saved) {
  if (real != unchanged)
    i.real = real;
  if (effective != unchanged)
    i.effective = effective;
  if (saved != unchanged)
    i.saved = saved;
  return 0;
}

result<void> report(const identity& i, uint32_t* app_real, uint32_t* app_effective,
                    uint32_t* app_saved) {
  TRY(mem::write_app(app_real, i.real));
  TRY(mem::write_app(app_effective, i.effective));
  return mem::write_app(app_saved, i.saved);
}

result<size_t> groups_into(int room, uint32_t* app_list) {
  sched::lock_guard guard(groups_lock);
  if (room < 0 || (room && static_cast<size_t>(room) < group_count))
    return error::inval;
  if (room)
    TRY(mem::copy_to_app(app_list, groups, group_count * sizeof groups[0]));
  return size_t{group_count};
}

result<void> replace_groups(size_t count, const uint32_t* app_list) {
  if (count > most_groups)
    return error::inval;
  uint32_t list[most_groups];
  TRY(mem::copy_from_app(list, app_list, count * sizeof list[0]));
  sched::lock_guard guard(groups_lock);
  __builtin_memcpy(groups, list, count * sizeof list[0]);
  group_count = count;
  return {};
}

bool names_this_process(int pid) {
  return pid == 0 || pid == 1;
}

// The layouts of capget(2).
struct capability_header {
  uint32_t version;
  int pid;
};
struct capability_data {
  uint32_t effective, permitted, inheritable;
};
constexpr uint32_t version_1 = 0x19980330, version_2 = 0x20071026, version_3 = 0x20080522;

// Every capability there is, in the layout of the version asked for.
result<void> capabilities(capability_header* app_header, capability_data* app_data) {
  auto header = TRY(mem::read_app(app_header));
  const bool wide = header.version != version_1;
  if (wide && header.version != version_2 && header.version != version_3) {
    header.version = version_3;
    TRY(mem::write_app(app_header, header));
    return app_data ? result<void>(error::inval) : result<void>();
  }
  if (!names_this_process(header.pid))
    return error::srch;
  if (!app_data)
    return {};
  const capability_data all[2] = {{~0u, ~0u, 0}, {0x1ff, 0x1ff, 0}};
  return mem::copy_to_app(app_data, all, sizeof all[0] * (wide ? 2 : 1));
}

} // namespace

extern "C" {

long sys_getuid() {
  return user.real;
}
long sys_geteuid() {
  return user.effective;
}
long sys_getgid() {
  return group.real;
}
long sys_getegid() {
  return group.effective;
}

long sys_setuid(uint32_t id) {
  return set(user, id, id, id);
}
long sys_setgid(uint32_t id) {
  return set(group, id, id, id);
}
long sys_setreuid(uint32_t real, uint32_t effective) {
  return set(user, real, effective, effective);
}
long sys_setregid(uint32_t real, uint32_t effective) {
  return set(group, real, effective, effective);
}
long sys_setresuid(uint32_t real, uint32_t effective, uint32_t saved) {
  return set(user, real, effective, saved);
}
long sys_setresgid(uint32_t real, uint32_t effective, uint32_t saved) {
  return set(group, real, effective, saved);
}
// These return the id that was in force before.
long sys_setfsuid(uint32_t) {
  return user.effective;
}
long sys_setfsgid(uint32_t) {
  return group.effective;
}

OBLAKO_SYSCALL(sys_getresuid, do_getresuid);
long do_getresuid(uint32_t* real, uint32_t* effective, uint32_t* saved) {
  return to_syscall(report(user, real, effective, saved));
}
OBLAKO_SYSCALL(sys_getresgid, do_getresgid);
long do_getresgid(uint32_t* real, uint32_t* effective, uint32_t* saved) {
  return to_syscall(report(group, real, effective, saved));
}
OBLAKO_SYSCALL(sys_getgroups, do_getgroups);
long do_getgroups(int room, uint32_t* list) {
  return to_syscall(groups_into(room, list));
}
OBLAKO_SYSCALL(sys_setgroups, do_setgroups);
long do_setgroups(size_t count, const uint32_t* list) {
  return to_syscall(replace_groups(count, list));
}

OBLAKO_SYSCALL(sys_capget, do_capget);
long do_capget(capability_header* header, capability_data* data) {
  return to_syscall(capabilities(header, data));
}
long sys_capset(capability_header*, const capability_data*) {
  return 0;
}

// There are no other programs to run as.
long sys_personality(unsigned long) {
  return 0;
}

// There are no children.
long sys_wait4(int, int*, int, void*) {
  return -long(error::child);
}
long sys_waitid(int, int, void*, int, void*) {
  return -long(error::child);
}
}
