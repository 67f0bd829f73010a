// What a system call without an implementation does: -ENOSYS, named once on the console.
#include "core/log/log.hh"
#include <errno.h>
#include <stdint.h>

extern "C" long oblako_missing_syscall(const char* name, uint8_t* said) {
  if (!*said) {
    *said = 1;
    oblako::log::warning("system call %s is not implemented (ENOSYS)", name);
  }
  return -ENOSYS;
}

// syscall(number) that nothing linked: the image build only sees constant numbers.
extern "C" long __oblako_unlinked_syscall(long number) {
  oblako::log::warning("syscall(%ld) is not linked into this image (ENOSYS)", number);
  return -ENOSYS;
}
