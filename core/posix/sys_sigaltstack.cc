// sigaltstack. The registration is the kernel's; the stack is only written to when a handler runs.
#include "arch/x64/percpu.hh"
#include "arch/x64/signal_frame.hh"
#include "arch/x64/syscall_entry.hh"
#include "core/mem/app_memory.hh"
#include "core/posix/alternate_stack.hh"
#include "core/posix/signal.hh"

namespace oblako::posix {
namespace {

constexpr size_t smallest_stack = 2048; // MINSIGSTKSZ

result<void> set_stack(signal_state& s, const arch::alternate_stack& wanted) {
  if (wanted.flags & ~(ss_onstack | ss_disable | ss_autodisarm))
    return error::inval;
  if (wanted.flags & ss_disable) {
    s.alternate_stack = 0;
    return {};
  }
  if (wanted.size < smallest_stack)
    return error::nomem;
  if (!mem::in_app_range(wanted.base, wanted.size))
    return error::inval;
  s.alternate_stack = wanted.base;
  s.alternate_stack_size = wanted.size;
  s.alternate_stack_flags = wanted.flags & ss_autodisarm;
  return {};
}

result<void> change_stack(const arch::alternate_stack* app_new, arch::alternate_stack* app_old) {
  signal_state& s = sched::current().signals;
  const uintptr_t stack_pointer =
      *reinterpret_cast<uint64_t*>(arch::this_cpu().kernel_stack_top - 16);
  const arch::alternate_stack old{s.alternate_stack, describe_alternate_stack(s, stack_pointer), 0,
                                  s.alternate_stack_size};
  if (app_new) {
    const auto wanted = TRY(mem::read_app(app_new));
    if (on_alternate_stack(s, stack_pointer))
      return error::perm;
    TRY(set_stack(s, wanted));
  }
  return app_old ? mem::write_app(app_old, old) : result<void>();
}

} // namespace
} // namespace oblako::posix

OBLAKO_SYSCALL(sys_sigaltstack, do_sigaltstack);

extern "C" long do_sigaltstack(const oblako::arch::alternate_stack* app_new,
                               oblako::arch::alternate_stack* app_old) {
  return oblako::to_syscall(oblako::posix::change_stack(app_new, app_old));
}
