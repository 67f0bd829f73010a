// /proc and /sys: the files that applications read, with live values where they matter (memory,
// time, threads) and Linux's defaults for settings that tune nothing here.
#include "core/boot/app_stack.hh"
#include "core/fs/proc_fd.hh"
#include "core/fs/proc_self.hh"
#include "core/fs/pseudo.hh"
#include "core/mem/app_memory.hh"
#include "core/mem/areas.hh"
#include "core/mem/frames.hh"
#include "core/net/policy.hh"
#include "core/net/proc_net.hh"
#include "core/posix/identity.hh"
#include "core/random/random.hh"
#include "core/sched/thread.hh"
#include "core/time/clock.hh"

namespace oblako::fs {

namespace {

using ulong = unsigned long;

constexpr uint64_t ns_per_tick = time::ns_per_s / 100; // USER_HZ is 100

ulong kilobytes(uint64_t bytes) {
  return bytes / 1024;
}

ulong thread_count() {
  ulong n = 0;
  sched::for_each_thread(
      [](sched::thread& t, void* to) {
        *static_cast<ulong*>(to) += t.is_application;
        return true;
      },
      &n);
  return n;
}

// The last component of the program's name, 15 bytes of it, as Linux's comm.
void append_comm(text_builder& out) {
  char path[256];
  const text name = program_name(path);
  out.append_bytes(name.data, min_of<size_t>(name.size, 15));
}

// ------------------------------------------------------------- /proc/self

void self_stat(text_builder& out) {
  const auto memory = mem::area_usage();
  out.append("1 (");
  append_comm(out);
  // Fields 3 to 22: state, ids, terminal, flags, faults, times, priority, threads, start time.
  out.append(") R 0 1 1 0 -1 4194560 0 0 0 0 %lu 0 0 0 20 0 %lu 0 0 ",
             ulong{sched::process_cpu_ns() / ns_per_tick}, thread_count());
  // vsize, rss, limit, addresses, signals, exit signal, processor, scheduling, delays.
  out.append(
      "%lu %lu 18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
      ulong{memory.mapped_bytes}, ulong{memory.resident_bytes / page_size});
}

void self_statm(text_builder& out) {
  const auto memory = mem::area_usage();
  const ulong resident = memory.resident_bytes / page_size;
  out.append("%lu %lu 0 0 0 %lu 0\n", ulong{memory.mapped_bytes / page_size}, resident, resident);
}

void self_status(text_builder& out) {
  const auto memory = mem::area_usage();
  out.append("Name:\t");
  append_comm(out);
  out.append("\nUmask:\t0022\nState:\tR (running)\nTgid:\t1\nNgid:\t0\nPid:\t1\nPPid:\t0\n"
             "TracerPid:\t0\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nFDSize:\t256\nGroups:\t\n");
  out.append("VmPeak:\t%8lu kB\nVmSize:\t%8lu kB\nVmLck:\t       0 kB\nVmPin:\t       0 kB\n",
             kilobytes(memory.mapped_bytes), kilobytes(memory.mapped_bytes));
  out.append("VmHWM:\t%8lu kB\nVmRSS:\t%8lu kB\nRssAnon:\t%8lu kB\nRssFile:\t       0 kB\n"
             "RssShmem:\t       0 kB\nVmData:\t%8lu kB\nVmSwap:\t       0 kB\n",
             kilobytes(memory.resident_bytes), kilobytes(memory.resident_bytes),
             kilobytes(memory.resident_bytes), kilobytes(memory.mapped_bytes));
  out.append("Threads:\t%lu\nCpus_allowed:\t1\nCpus_allowed_list:\t0\n", thread_count());
}

void append_area(text_builder& out, uintptr_t start, uintptr_t end, uint32_t prot,
                 const char* name) {
  const char access[5] = {prot & mem::prot_read ? 'r' : '-', prot & mem::prot_write ? 'w' : '-',
                          prot & mem::prot_exec ? 'x' : '-', 'p', 0};
  out.append("%08lx-%08lx %s 00000000 00:00 0 %s%s\n", ulong{start}, ulong{end}, access,
             name && *name ? "                         " : "", name ? name : "");
}

void self_maps(text_builder& out) {
  mem::for_each_area(
      [](uintptr_t start, uintptr_t end, uint32_t prot, const char* name, void* to) {
        append_area(*static_cast<text_builder*>(to), start, end, prot, name);
      },
      &out);
}

// Sizes are known per area, what is resident only for the whole: it is given with the first.
void self_smaps(text_builder& out) {
  struct state {
    text_builder& out;
    ulong resident;
  } s{out, kilobytes(mem::area_usage().resident_bytes)};
  mem::for_each_area(
      [](uintptr_t start, uintptr_t end, uint32_t prot, const char* name, void* to) {
        auto& s = *static_cast<state*>(to);
        append_area(s.out, start, end, prot, name);
        s.out.append("Size:           %8lu kB\nRss:            %8lu kB\nPss:            %8lu kB\n"
                     "Shared_Clean:          0 kB\nShared_Dirty:          0 kB\n"
                     "Private_Clean:         0 kB\nPrivate_Dirty:  %8lu kB\n"
                     "Referenced:     %8lu kB\nAnonymous:      %8lu kB\n"
                     "AnonHugePages:         0 kB\nSwap:                  0 kB\n",
                     kilobytes(end - start), s.resident, s.resident, s.resident, s.resident,
                     s.resident);
        s.resident = 0;
      },
      &s);
}

void self_comm(text_builder& out) {
  append_comm(out);
  out.append("\n");
}

void self_limits(text_builder& out) {
  const ulong files = posix::descriptors.limit();
  out.append("Limit                     Soft Limit           Hard Limit           Units     \n"
             "Max cpu time              unlimited            unlimited            seconds   \n"
             "Max file size             unlimited            unlimited            bytes     \n"
             "Max data size             unlimited            unlimited            bytes     \n"
             "Max stack size            8388608              unlimited            bytes     \n");
  out.append("Max open files            %-20lu %-20lu files     \n", files,
             ulong{posix::fd_table::maximum_size});
  out.append("Max address space         unlimited            unlimited            bytes     \n");
}

// ------------------------------------------------------------- /proc

void meminfo(text_builder& out) {
  const auto frames = mem::frame_usage();
  const ulong total = kilobytes(frames.total_bytes), free = kilobytes(frames.free_bytes);
  out.append("MemTotal:       %8lu kB\nMemFree:        %8lu kB\nMemAvailable:   %8lu kB\n", total,
             free, free);
  out.append(
      "Buffers:               0 kB\nCached:                0 kB\nSwapCached:            0 kB\n"
      "SwapTotal:             0 kB\nSwapFree:              0 kB\nDirty:                 0 kB\n"
      "AnonPages:      %8lu kB\nShmem:                 0 kB\nHugePages_Total:       0\n"
      "HugePages_Free:        0\nHugepagesize:       2048 kB\n",
      kilobytes(mem::area_usage().resident_bytes));
}

void cpuinfo(text_builder& out) {
  out.append("processor\t: 0\nvendor_id\t: Oblako\nmodel name\t: x86-64\ncpu cores\t: 1\n"
             "siblings\t: 1\nphysical id\t: 0\ncore id\t\t: 0\n\n");
}

void stat(text_builder& out) {
  const ulong up = time::monotonic_ns() / ns_per_tick;
  const ulong busy = min_of<ulong>(sched::process_cpu_ns() / ns_per_tick, up);
  const ulong booted = (time::wall_ns() - time::monotonic_ns()) / time::ns_per_s;
  for (const char* name : {"cpu ", "cpu0"})
    out.append("%s %lu 0 0 %lu 0 0 0 0 0 0\n", name, busy, up - busy);
  out.append("intr 0\nctxt 0\nbtime %lu\nprocesses 1\nprocs_running 1\nprocs_blocked 0\n", booted);
}

void uptime(text_builder& out) {
  const uint64_t ns = time::monotonic_ns();
  const ulong s = ns / time::ns_per_s, hundredths = ns % time::ns_per_s / 10'000'000;
  out.append("%lu.%02lu %lu.%02lu\n", s, hundredths, s, hundredths);
}

void loadavg(text_builder& out) {
  out.append("0.00 0.00 0.00 1/%lu 1\n", thread_count());
}

void version(text_builder& out) {
  out.append("%s version %s %s\n", posix::system_name, posix::system_release,
             posix::system_version);
}

void hostname(text_builder& out) {
  out.append("%s\n", posix::host_name());
}

void random_uuid(text_builder& out) {
  uint8_t b[16];
  random::fill(b, sizeof b);
  b[6] = (b[6] & 0x0f) | 0x40; // RFC 4122, version 4
  b[8] = (b[8] & 0x3f) | 0x80;
  for (unsigned i = 0; i < sizeof b; ++i)
    out.append(i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", b[i]);
  out.append("\n");
}

void file_nr(text_builder& out) {
  out.append("0\t0\t%u\n", posix::fd_table::maximum_size);
}

// As core/net/policy.hh has them.
constexpr char port_range_text[] = "32768\t60999\n", congestion_text[] = "cubic\n";
static_assert(net::first_local_port == 32768 && net::last_local_port == 60999);
static_assert(__builtin_memcmp(congestion_text, net::congestion_control, 5) == 0);

constexpr uint32_t readable = S_IFREG | 0444, setting = S_IFREG | 0644, link = S_IFLNK | 0777;

constexpr pseudo_entry proc_entries[] = {
    {.path = "self/stat", .mode = readable, .write_text = self_stat},
    {.path = "self/statm", .mode = readable, .write_text = self_statm},
    {.path = "self/status", .mode = readable, .write_text = self_status},
    {.path = "self/maps", .mode = readable, .write_text = self_maps},
    {.path = "self/smaps", .mode = readable, .write_text = self_smaps},
    {.path = "self/cmdline", .mode = readable, .write_text = write_cmdline},
    {.path = "self/comm", .mode = setting, .write_text = self_comm},
    {.path = "self/exe", .mode = link, .write_text = write_exe},
    {.path = "self/cwd", .mode = link, .write_text = write_cwd},
    {.path = "self/environ", .mode = S_IFREG | 0400, .write_text = write_environ},
    {.path = "self/auxv", .mode = S_IFREG | 0400, .write_text = write_auxv},
    {.path = "self/task", .mode = S_IFDIR | 0555, .make_node = make_task_directory},
    {.path = "self/root", .mode = link, .constant = "/"},
    {.path = "self/fd", .mode = S_IFDIR | 0500, .make_node = make_fd_directory},
    {.path = "self/limits", .mode = readable, .write_text = self_limits},
    {.path = "self/oom_score", .mode = readable, .constant = "0\n"},
    {.path = "self/oom_score_adj", .mode = setting, .constant = "0\n"},
    {.path = "self/mounts", .mode = link, .constant = "/proc/mounts"},
    {.path = "self/mountinfo",
     .mode = readable,
     .constant = "1 0 0:16 / / rw - tmpfs root rw\n2 1 0:17 / /dev rw - devtmpfs dev rw\n"
                 "3 1 0:18 / /proc rw - proc proc rw\n4 1 0:19 / /sys rw - sysfs sysfs rw\n"},
    {.path = "self/cgroup", .mode = readable, .constant = "0::/\n"},
    {.path = "meminfo", .mode = readable, .write_text = meminfo},
    {.path = "cpuinfo", .mode = readable, .write_text = cpuinfo},
    {.path = "stat", .mode = readable, .write_text = stat},
    {.path = "uptime", .mode = readable, .write_text = uptime},
    {.path = "loadavg", .mode = readable, .write_text = loadavg},
    {.path = "version", .mode = readable, .write_text = version},
    {.path = "mounts",
     .mode = readable,
     .constant = "root / tmpfs rw 0 0\ndev /dev devtmpfs rw 0 0\nproc /proc proc rw 0 0\n"
                 "sysfs /sys sysfs rw 0 0\n"},
    {.path = "filesystems",
     .mode = readable,
     .constant = "nodev\tproc\nnodev\tsysfs\nnodev\ttmpfs\n"},
    {.path = "self/net", .mode = link, .constant = "/proc/net"},
    {.path = "net/tcp", .mode = readable, .write_text = net::write_proc_tcp},
    {.path = "net/tcp6", .mode = readable, .write_text = net::write_proc_tcp6},
    {.path = "net/udp", .mode = readable, .write_text = net::write_proc_udp},
    {.path = "net/udp6", .mode = readable, .write_text = net::write_proc_udp6},
    {.path = "net/unix", .mode = readable, .write_text = net::write_proc_unix},
    {.path = "net/dev", .mode = readable, .write_text = net::write_proc_dev},
    {.path = "net/route", .mode = readable, .write_text = net::write_proc_route},
    {.path = "net/if_inet6", .mode = readable, .write_text = net::write_proc_if_inet6},
    {.path = "net/arp", .mode = readable, .write_text = net::write_proc_arp},
    {.path = "net/netstat", .mode = readable, .write_text = net::write_proc_netstat},
    {.path = "net/sockstat", .mode = readable, .write_text = net::write_proc_sockstat},
    {.path = "sys/vm/overcommit_memory", .mode = setting, .constant = "1\n"},
    {.path = "sys/vm/max_map_count", .mode = setting, .constant = "1048576\n"},
    {.path = "sys/vm/swappiness", .mode = setting, .constant = "0\n"},
    {.path = "sys/net/core/somaxconn", .mode = setting, .constant = "4096\n"},
    {.path = "sys/net/core/rmem_max", .mode = setting, .constant = "4194304\n"},
    {.path = "sys/net/core/wmem_max", .mode = setting, .constant = "4194304\n"},
    {.path = "sys/net/ipv4/tcp_max_syn_backlog", .mode = setting, .constant = "4096\n"},
    {.path = "sys/net/ipv4/ip_local_port_range", .mode = setting, .constant = port_range_text},
    {.path = "sys/net/ipv4/tcp_congestion_control", .mode = setting, .constant = congestion_text},
    {.path = "sys/net/ipv4/tcp_available_congestion_control",
     .mode = readable,
     .constant = congestion_text},
    {.path = "sys/kernel/hostname", .mode = setting, .write_text = hostname},
    {.path = "sys/kernel/ostype", .mode = readable, .constant = "Linux\n"},
    {.path = "sys/kernel/osrelease", .mode = readable, .constant = "6.1.0-oblako\n"},
    {.path = "sys/kernel/pid_max", .mode = setting, .constant = "4194304\n"},
    {.path = "sys/kernel/threads-max", .mode = setting, .constant = "65536\n"},
    {.path = "sys/kernel/cap_last_cap", .mode = readable, .constant = "40\n"},
    {.path = "sys/kernel/random/uuid", .mode = readable, .write_text = random_uuid},
    {.path = "sys/kernel/random/entropy_avail", .mode = readable, .constant = "256\n"},
    {.path = "sys/fs/file-max", .mode = setting, .constant = "1048576\n"},
    {.path = "sys/fs/nr_open", .mode = setting, .constant = "1048576\n"},
    {.path = "sys/fs/file-nr", .mode = readable, .write_text = file_nr},
    {.path = "sys/fs/pipe-max-size", .mode = setting, .constant = "65536\n"},
};

constexpr pseudo_entry sys_entries[] = {
    {.path = "kernel/mm/transparent_hugepage/enabled",
     .mode = setting,
     .constant = "always [madvise] never\n"},
    {.path = "kernel/mm/transparent_hugepage/hpage_pmd_size",
     .mode = readable,
     .constant = "2097152\n"},
    {.path = "devices/system/cpu/online", .mode = readable, .constant = "0\n"},
    {.path = "devices/system/cpu/possible", .mode = readable, .constant = "0\n"},
    {.path = "devices/system/cpu/present", .mode = readable, .constant = "0\n"},
    {.path = "devices/system/node/online", .mode = readable, .constant = "0\n"},
    {.path = "devices/system/clocksource/clocksource0/current_clocksource",
     .mode = readable,
     .constant = "tsc\n"},
};

} // namespace

constinit const pseudo_tree proc_tree{"/proc", 0x12, proc_entries,
                                      sizeof proc_entries / sizeof proc_entries[0]};
constinit const pseudo_tree sys_tree{"/sys", 0x13, sys_entries,
                                     sizeof sys_entries / sizeof sys_entries[0]};

} // namespace oblako::fs
