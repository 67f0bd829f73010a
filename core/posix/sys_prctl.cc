// prctl and arch_prctl: the parts that mean something for the one process here.
#include "arch/x64/context.hh"
#include "core/base/result.hh"
#include "core/mem/app_memory.hh"
#include "core/sched/thread.hh"
#include <sys/prctl.h>

using namespace oblako;

namespace {

result<void> set_name(const char* app_name) {
  char name[sizeof(sched::thread::name)];
  auto length = mem::string_from_app(name, sizeof(name), app_name);
  if (!length.ok() && length.code() != error::nametoolong)
    return length.code();
  name[sizeof(name) - 1] = 0; // longer names are cut off
  sched::thread& self = sched::current();
  __builtin_memcpy(self.name, name, sizeof(name));
  return {};
}

result<void> get_name(char* app_name) {
  return mem::copy_to_app(app_name, sched::current().name, sizeof(sched::thread::name));
}

// Recorded only: there is nobody to dump to, no parent that could die, no new privileges.
struct recorded_settings {
  long dumpable = 1, keep_capabilities = 0, no_new_privileges = 0, parent_death_signal = 0;
  long timer_slack = 50'000;
} recorded;

result<long> control(int option, uintptr_t argument) {
  const auto value = static_cast<long>(argument);
  switch (option) {
  case PR_SET_NAME:
    TRY(set_name(reinterpret_cast<const char*>(argument)));
    return 0;
  case PR_GET_NAME:
    TRY(get_name(reinterpret_cast<char*>(argument)));
    return 0;
  case PR_SET_DUMPABLE:
    recorded.dumpable = value;
    return 0;
  case PR_GET_DUMPABLE:
    return recorded.dumpable;
  case PR_SET_KEEPCAPS:
    recorded.keep_capabilities = value;
    return 0;
  case PR_GET_KEEPCAPS:
    return recorded.keep_capabilities;
  case PR_SET_NO_NEW_PRIVS:
    recorded.no_new_privileges = 1;
    return 0;
  case PR_GET_NO_NEW_PRIVS:
    return recorded.no_new_privileges;
  case PR_SET_PDEATHSIG:
    recorded.parent_death_signal = value;
    return 0;
  case PR_GET_PDEATHSIG:
    TRY(mem::write_app(reinterpret_cast<int*>(argument),
                       static_cast<int>(recorded.parent_death_signal)));
    return 0;
  case PR_SET_TIMERSLACK:
    recorded.timer_slack = value;
    return 0;
  case PR_GET_TIMERSLACK:
    return recorded.timer_slack;
  // Transparent large pages are the kernel's choice.
  case PR_SET_THP_DISABLE:
    return 0;
  case PR_GET_THP_DISABLE:
    return 0;
  default:
    return error::inval;
  }
}

enum arch_operation : int {
  set_gs = 0x1001,
  set_fs = 0x1002,
  get_fs = 0x1003,
};

} // namespace

extern "C" long sys_prctl(int option, uintptr_t argument) {
  return to_syscall(control(option, argument));
}

extern "C" long sys_arch_prctl(int operation, uintptr_t address) {
  sched::thread& self = sched::current();
  switch (operation) {
  case set_fs:
    if (address >= mem::app_range_end)
      return -static_cast<long>(error::perm);
    self.context.fs_base = address;
    arch::set_fs_base(address);
    return 0;
  case get_fs:
    return to_syscall(mem::write_app(reinterpret_cast<uintptr_t*>(address), self.context.fs_base));
  default:
    return -static_cast<long>(error::inval); // GS is the kernel's
  }
}

// Crash reports name the thread.
extern "C" void oblako_thread_name(char* to, size_t size) {
  const sched::thread& self = sched::current();
  size_t i = 0;
  for (; i + 1 < size && i < sizeof(self.name) && self.name[i]; ++i)
    to[i] = self.name[i];
  to[i] = 0;
}
