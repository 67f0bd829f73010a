// kill, tkill, tgkill and their queueing forms. There is one process: number 1, its own group.
#include "arch/x64/syscall_entry.hh"
#include "core/mem/app_memory.hh"
#include "core/posix/signal.hh"

namespace oblako::sched {
// Without clone the only thread is the running one.
[[gnu::weak]] thread* find_thread(int32_t tid);
extern spinlock thread_table_lock [[gnu::weak]];
} // namespace oblako::sched

namespace oblako::posix {
namespace {

constexpr int32_t process_id = 1;

siginfo_t info_of(int signo, int code) {
  siginfo_t info{};
  info.si_signo = signo;
  info.si_code = code;
  info.si_pid = process_id;
  return info;
}

// Signal 0 only asks whether the receiver exists.
result<void> to_process(int32_t pid, int signo, const siginfo_t& info) {
  // 0 and -1 are everybody, -1 also as the group's number.
  if (pid != process_id && pid != 0 && pid != -1)
    return error::srch;
  if (signo)
    TRY(send_signal(target::process, nullptr, signo, &info));
  return {};
}

result<void> to_thread(int32_t tid, int signo, const siginfo_t& info) {
  sched::thread& self = sched::current();
  if (tid == self.tid) {
    if (signo)
      TRY(send_signal(target::thread, &self, signo, &info));
    return {};
  }
  if (!sched::find_thread)
    return error::srch;
  sched::spinlock_guard guard(sched::thread_table_lock);
  sched::thread* t = sched::find_thread(tid);
  if (!t || !t->is_application)
    return error::srch;
  if (signo)
    TRY(send_signal(target::thread, t, signo, &info));
  return {};
}

result<siginfo_t> info_from_app(const siginfo_t* app, int signo, bool own_process) {
  siginfo_t info = TRY(mem::read_app(app));
  // Only the kernel says SI_KERNEL and the like, unless one talks to oneself.
  if (!own_process && (info.si_code >= 0 || info.si_code == SI_TKILL))
    return error::perm;
  info.si_signo = signo;
  return info;
}

bool valid(int signo) {
  return signo == 0 || valid_signal(signo);
}

result<void> queue_to_process(int32_t pid, int signo, const siginfo_t* app) {
  return to_process(pid, signo, TRY(info_from_app(app, signo, pid == process_id)));
}

result<void> queue_to_thread(int32_t tid, int signo, const siginfo_t* app) {
  return to_thread(tid, signo, TRY(info_from_app(app, signo, true)));
}

constexpr long invalid = -static_cast<long>(error::inval);

} // namespace
} // namespace oblako::posix

using namespace oblako;
using namespace oblako::posix;

OBLAKO_SYSCALL(sys_kill, do_kill);
OBLAKO_SYSCALL(sys_tkill, do_tkill);
OBLAKO_SYSCALL(sys_tgkill, do_tgkill);
OBLAKO_SYSCALL(sys_rt_sigqueueinfo, do_rt_sigqueueinfo);
OBLAKO_SYSCALL(sys_rt_tgsigqueueinfo, do_rt_tgsigqueueinfo);

extern "C" {

long do_kill(int32_t pid, int signo) {
  return valid(signo) ? to_syscall(to_process(pid, signo, info_of(signo, SI_USER))) : invalid;
}

long do_tkill(int32_t tid, int signo) {
  if (!valid(signo) || tid <= 0)
    return invalid;
  return to_syscall(to_thread(tid, signo, info_of(signo, SI_TKILL)));
}

long do_tgkill(int32_t pid, int32_t tid, int signo) {
  if (!valid(signo) || tid <= 0 || pid <= 0)
    return invalid;
  if (pid != process_id)
    return -static_cast<long>(error::srch);
  return to_syscall(to_thread(tid, signo, info_of(signo, SI_TKILL)));
}

long do_rt_sigqueueinfo(int32_t pid, int signo, const siginfo_t* info) {
  return valid(signo) ? to_syscall(queue_to_process(pid, signo, info)) : invalid;
}

long do_rt_tgsigqueueinfo(int32_t pid, int32_t tid, int signo, const siginfo_t* info) {
  if (!valid(signo) || tid <= 0 || pid <= 0)
    return invalid;
  if (pid != process_id)
    return -static_cast<long>(error::srch);
  return to_syscall(queue_to_thread(tid, signo, info));
}
}
