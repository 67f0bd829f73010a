// uname, sethostname, setdomainname.
#include "arch/x64/syscall_entry.hh"
#include "core/boot/options.hh"
#include "core/mem/app_memory.hh"
#include "core/posix/identity.hh"
#include <sys/utsname.h>

namespace oblako::posix {

namespace {

char chosen[host_name_limit + 1];
char domain[host_name_limit + 1] = "(none)";
bool named;

void put(char (&field)[65], const char* value) {
  size_t n = 0;
  while (value[n] && n < sizeof field - 1) {
    field[n] = value[n];
    ++n;
  }
}

} // namespace

const char* host_name() {
  return named ? chosen : boot::host_name();
}

} // namespace oblako::posix

using namespace oblako;
using namespace oblako::posix;

OBLAKO_SYSCALL(sys_uname, do_uname);
extern "C" long do_uname(struct utsname* out) {
  struct utsname u {};
  put(u.sysname, system_name);
  put(u.nodename, host_name());
  put(u.release, system_release);
  put(u.version, system_version);
  put(u.machine, system_machine);
  put(u.domainname, domain);
  return to_syscall(mem::write_app(out, u));
}

namespace {

result<void> take_name(char (&to)[host_name_limit + 1], const char* app_name, size_t size) {
  if (size > host_name_limit)
    return error::inval;
  char name[host_name_limit + 1] = {};
  TRY(mem::copy_from_app(name, app_name, size));
  __builtin_memcpy(to, name, sizeof name);
  return {};
}

} // namespace

OBLAKO_SYSCALL(sys_sethostname, do_sethostname);
extern "C" long do_sethostname(const char* name, size_t size) {
  auto taken = take_name(chosen, name, size);
  if (taken.ok())
    named = true;
  return to_syscall(taken);
}

OBLAKO_SYSCALL(sys_setdomainname, do_setdomainname);
extern "C" long do_setdomainname(const char* name, size_t size) {
  return to_syscall(take_name(domain, name, size));
}
