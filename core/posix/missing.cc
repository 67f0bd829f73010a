// What a system call without an implementation does: -ENOSYS, named once on the console.
#include "arch/x64/syscall_entry.hh"
#include "core/log/log.hh"
#include <errno.h>
#include <stdint.h>

OBLAKO_SYSCALL(oblako_missing_syscall, do_missing_syscall);
OBLAKO_SYSCALL(__oblako_unlinked_syscall, do_unlinked_syscall);

extern "C" long do_missing_syscall(const char* name, uint8_t* said) {
  if (!*said) {
    *said = 1;
    oblako::log::warning("system call %s is not implemented (ENOSYS)", name);
  }
  return -ENOSYS;
}

// syscall(number) that nothing linked: the image build only sees constant numbers.
extern "C" long do_unlinked_syscall(long number) {
  oblako::log::warning("syscall(%ld) is not linked into this image (ENOSYS)", number);
  return -ENOSYS;
}
