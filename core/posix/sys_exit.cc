// exit and exit_group. musl's _Exit reaches both in every image; a thread's own end
// (thread_exit.cc) comes with clone, without it the only thread is the last.
#include "arch/x64/syscall_entry.hh"

extern "C" {
[[noreturn]] void oblako_exit(int status);
[[gnu::weak, noreturn]] void oblako_exit_thread(int status);
}

OBLAKO_SYSCALL(sys_exit, do_exit);
OBLAKO_SYSCALL(sys_exit_group, do_exit_group);

extern "C" long do_exit(int status) {
  if (oblako_exit_thread)
    oblako_exit_thread(status);
  oblako_exit(status);
}

extern "C" long do_exit_group(int status) {
  oblako_exit(status);
}
