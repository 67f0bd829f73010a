// The futex call. musl's locks reach it in every image, but without a second thread nobody can be
// waiting or woken; so the table of waiters (futex.cc) comes with clone. Alone, a wait is a sleep
// that a signal or its timeout ends (futex_alone.cc); in an image with neither signals nor clocks
// nothing can end it, and the VM is told so.
#include "arch/x64/cpu.hh"
#include "arch/x64/syscall_entry.hh"
#include "core/log/log.hh"
#include "core/mem/app_memory.hh"
#include "core/posix/futex.hh"

namespace {

using namespace oblako;

enum operation : unsigned {
  op_wait = 0,
  op_wait_bitset = 9,
  command_mask = 127,
  flag_realtime = 256
};

// FUTEX_WAKE, _REQUEUE, _CMP_REQUEUE, _WAKE_OP and _WAKE_BITSET.
constexpr unsigned waking = 1u << 1 | 1u << 3 | 1u << 4 | 1u << 5 | 1u << 10;

long wait(const uint32_t* address, unsigned operation, uint32_t value, const timespec* timeout) {
  auto now = mem::read_app(address);
  if (!now.ok())
    return -static_cast<long>(now.code());
  if (*now != value)
    return -static_cast<long>(error::again);
  if (oblako_futex_alone)
    return oblako_futex_alone((operation & command_mask) == op_wait_bitset,
                              operation & flag_realtime, timeout);
  log::error("oblako: the application waits for a lock that nobody can release");
  arch::power_off(1);
}

} // namespace

OBLAKO_SYSCALL_RESTARTABLE(sys_futex, do_futex);

extern "C" long do_futex(uint32_t* address, int operation, uint32_t value, uint64_t timeout,
                         uint32_t* address2, uint32_t value3) {
  if (oblako_futex) [[likely]]
    return oblako_futex(address, operation, value, timeout, address2, value3);
  const unsigned command = operation & command_mask;
  const auto checked = posix::check_futex_word(address);
  if (!checked.ok())
    return to_syscall(checked);
  if (command == op_wait || command == op_wait_bitset)
    return wait(address, operation, value, reinterpret_cast<const timespec*>(timeout));
  return command < 32 && waking >> command & 1 ? 0 : -static_cast<long>(error::nosys);
}
