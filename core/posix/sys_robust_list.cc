// set_robust_list, get_robust_list: where a thread keeps the robust mutexes it holds. The list
// itself is read when the thread ends (thread_exit.cc).
#include "arch/x64/syscall_entry.hh"
#include "core/mem/app_memory.hh"
#include "core/sched/thread.hh"

using namespace oblako;

namespace {

constexpr size_t head_bytes = 24;

result<void> get_robust_list(int32_t tid, uintptr_t* head, size_t* length) {
  uintptr_t value;
  if (tid == 0) {
    value = reinterpret_cast<uintptr_t>(sched::current().robust_list);
  } else {
    sched::spinlock_guard guard(sched::thread_table_lock);
    sched::thread* t = sched::find_thread(tid);
    if (!t || !t->is_application)
      return error::srch;
    value = reinterpret_cast<uintptr_t>(t->robust_list);
  }
  TRY(mem::write_app(head, value));
  return mem::write_app(length, head_bytes);
}

} // namespace

extern "C" long sys_set_robust_list(void* head, size_t length) {
  if (length != head_bytes)
    return -static_cast<long>(error::inval);
  sched::current().robust_list = head;
  return 0;
}

OBLAKO_SYSCALL(sys_get_robust_list, do_get_robust_list);

extern "C" long do_get_robust_list(int32_t tid, uintptr_t* head, size_t* length) {
  return to_syscall(get_robust_list(tid, head, length));
}
