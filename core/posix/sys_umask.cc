#include "core/posix/creation_mask.hh"

namespace oblako::posix {
uint32_t creation_mask = 022;
}

extern "C" long sys_umask(unsigned mask) {
  return __atomic_exchange_n(&oblako::posix::creation_mask, mask & 0777, __ATOMIC_RELAXED);
}
