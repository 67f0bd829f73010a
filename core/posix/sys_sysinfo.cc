// sysinfo: how long, and how much memory.
#include "arch/x64/syscall_entry.hh"
#include "core/mem/app_memory.hh"
#include "core/mem/frames.hh"
#include "core/time/clock.hh"
#include <sys/sysinfo.h>

using namespace oblako;

OBLAKO_SYSCALL(sys_sysinfo, do_sysinfo);
extern "C" long do_sysinfo(struct sysinfo* out) {
  const auto frames = mem::frame_usage();
  struct sysinfo s {};
  s.uptime = time::monotonic_ns() / time::ns_per_s;
  s.totalram = frames.total_bytes;
  s.freeram = frames.free_bytes;
  s.procs = 1;
  s.mem_unit = 1;
  return to_syscall(mem::write_app(out, s));
}
