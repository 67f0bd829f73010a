// clone: a new thread of the one process, with the flags pthread_create uses. Everything else that
// clone can do would be a second process.
#include "arch/x64/syscall_entry.hh"
#include "core/log/log.hh"
#include "core/mem/app_memory.hh"
#include "core/mem/areas.hh"
#include "core/posix/boundary.hh"
#include "core/posix/thread_exit.hh"
#include "core/sched/thread_table.hh"

namespace {

using namespace oblako;

enum clone_flags : uint64_t {
  clone_vm = 0x100,
  clone_fs = 0x200,
  clone_files = 0x400,
  clone_sighand = 0x800,
  clone_thread = 0x10000,
  clone_sysvsem = 0x40000,
  clone_settls = 0x80000,
  clone_parent_settid = 0x100000,
  clone_child_cleartid = 0x200000,
  clone_detached = 0x400000,
  clone_child_settid = 0x1000000,
};
constexpr uint64_t shared = clone_vm | clone_fs | clone_files | clone_sighand | clone_thread;
constexpr uint64_t optional = clone_sysvsem | clone_settls | clone_parent_settid |
                              clone_child_cleartid | clone_detached | clone_child_settid;

bool said;

result<void> check_flags(uint64_t flags) {
  if ((flags & shared) == shared && !(flags & ~(shared | optional)))
    return {};
  if (!said) {
    said = true;
    log::warning("clone with flags 0x%lx: only threads can be made here (ENOSYS)", flags);
  }
  return error::nosys;
}

// First steps of a new thread: it returns from the call its creator made, with result 0.
void start_application_thread(void* p) {
  const auto& self = *static_cast<const sched::thread*>(p);
  arch::trap_frame frame{};
  frame.rip = self.start_rip;
  frame.rsp = self.start_rsp;
  frame.rflags = arch::rflags_fixed | arch::rflags_interrupts;
  arch::fill_segments(frame);
  arch::disable_interrupts();
  oblako_return_to_application(&frame, false);
  arch::resume(frame);
}

uintptr_t application_stack_pointer() {
  return *reinterpret_cast<uint64_t*>(arch::this_cpu().kernel_stack_top - 16);
}

struct clone_request {
  uint64_t flags;
  uintptr_t stack;
  int32_t* parent_tid;
  int32_t* child_tid;
  uintptr_t tls;
};

void inherit(sched::thread& child, const sched::thread& parent) {
  child.is_application = true;
  child.virtual_runtime = parent.virtual_runtime;
  child.weight = parent.weight;
  child.nice = parent.nice;
  child.policy = parent.policy;
  child.realtime_priority = parent.realtime_priority;
  child.signals.blocked = parent.signals.blocked;
  for (size_t i = 0; i < sizeof(child.name); ++i)
    child.name[i] = parent.name[i];
}

result<void> announce(const clone_request& r, int32_t tid) {
  if (r.flags & clone_parent_settid)
    TRY(mem::write_app(r.parent_tid, tid));
  if (r.flags & clone_child_settid)
    TRY(mem::write_app(r.child_tid, tid));
  return {};
}

result<int32_t> clone(const clone_request& r) {
  TRY(check_flags(r.flags));
  if (!mem::in_app_range(r.stack, 0) || r.tls >= mem::app_range_end)
    return error::inval;
  const uintptr_t rip =
      TRY(mem::read_app(reinterpret_cast<const uint64_t*>(application_stack_pointer())));
  if (!mem::in_app_range(rip, 1))
    return error::fault;
  const sched::thread& parent = sched::current();
  sched::thread& child = *TRY(sched::create_thread(start_application_thread, nullptr));
  inherit(child, parent);
  child.start_rip = rip;
  child.start_rsp = r.stack;
  child.context.fs_base = r.flags & clone_settls ? r.tls : parent.context.fs_base;
  if (r.flags & clone_child_cleartid)
    child.clear_child_tid = r.child_tid;
  result<void> entered = sched::register_thread(child);
  if (entered.ok() && !(entered = announce(r, child.tid)).ok())
    sched::forget_thread(child);
  if (!entered.ok()) {
    sched::discard_thread(child);
    return entered.code();
  }
  const int32_t tid = child.tid; // once awake it may end at any time
  sched::wake(child);
  return tid;
}

} // namespace

OBLAKO_SYSCALL(sys_clone, do_clone);
OBLAKO_SYSCALL(sys_unmap_and_exit, do_unmap_and_exit);

extern "C" long do_clone(uint64_t flags, uintptr_t stack, int32_t* parent_tid, int32_t* child_tid,
                         uintptr_t tls) {
  return to_syscall(clone({flags, stack, parent_tid, child_tid, tls}));
}

// For detached threads, which free the stack they stand on (libc/overrides/__unmapself.s).
extern "C" long do_unmap_and_exit(uintptr_t start, size_t bytes) {
  // Nobody is left to hear of an error; a mapping that stays is all that can happen.
  (void)mem::unmap(start, bytes).ok();
  oblako_exit_thread(0);
}
