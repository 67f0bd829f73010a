// Process identity: there is one process, number 1, the leader of its group and session, without
// parent. Leaf calls.
#include "core/base/result.hh"
#include "core/sched/thread.hh"

using namespace oblako;

namespace {

constexpr int32_t process_id = 1;
constexpr long no_such_process = -static_cast<long>(error::srch);
constexpr bool is_self(int32_t pid) {
  return pid == 0 || pid == process_id;
}

} // namespace

extern "C" {

long sys_getpid() {
  return process_id;
}
long sys_getppid() {
  return 0;
}
long sys_getpgrp() {
  return process_id;
}
long sys_getpgid(int32_t pid) {
  return is_self(pid) ? process_id : no_such_process;
}
long sys_getsid(int32_t pid) {
  return is_self(pid) ? process_id : no_such_process;
}
long sys_setpgid(int32_t pid, int32_t) {
  return is_self(pid) ? 0 : no_such_process;
}
// Daemons expect to become a session of their own; it is one already.
long sys_setsid() {
  return process_id;
}
}
