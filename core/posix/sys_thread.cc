// The leaf calls every image's start-up makes: who am I, my thread pointer, my exit word.
#include "arch/x64/context.hh"
#include "core/sched/thread.hh"

using namespace oblako;

extern "C" long sys_gettid() {
  return sched::current().tid;
}

extern "C" long sys_set_tid_address(int32_t* clear_at_exit) {
  sched::current().clear_child_tid = clear_at_exit;
  return sched::current().tid;
}

// Of libc/overrides/__set_thread_area.s.
extern "C" long sys_set_thread_pointer(uintptr_t value) {
  sched::current().context.fs_base = value;
  arch::set_fs_base(value);
  return 0;
}
