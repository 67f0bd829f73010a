// Crash reports. The lines "  #N 0xADDRESS" are what the host's script puts names to. Kernel code
// keeps frame pointers; application code does not, so its part of the backtrace is every word on
// the stack that follows a call instruction, the nearest first, marked "?".
#include "arch/x64/crash.hh"
#include "arch/x64/call_site.hh"
#include "arch/x64/cpu.hh"
#include "arch/x64/msr.hh"
#include "arch/x64/percpu.hh"
#include "arch/x64/syscall_entry.hh"
#include "core/log/console.hh"
#include "core/log/log.hh"
#include "core/mem/app_memory.hh"
#include "core/mem/areas.hh"
#include "core/mem/frames.hh"
#include "core/mem/heap.hh"
#include "core/mem/kernel_map.hh"
#include <signal.h>

extern "C" char kernel_text_start[], kernel_text_end[], app_text_start[], app_text_end[];
extern "C" [[gnu::weak]] void oblako_thread_name(char* to, size_t size);

namespace oblako::arch {
namespace {

constexpr size_t max_frames = 32;
constexpr size_t scanned_words = 1024;

struct text_range {
  uintptr_t start, end;
  bool holds(uintptr_t a) const { return a >= start && a < end; }
};
text_range kernel_text() {
  return {reinterpret_cast<uintptr_t>(kernel_text_start),
          reinterpret_cast<uintptr_t>(kernel_text_end)};
}
text_range app_text() {
  return {reinterpret_cast<uintptr_t>(app_text_start), reinterpret_cast<uintptr_t>(app_text_end)};
}

void print_registers(const trap_frame& f) {
  log::error("  rip %016lx  rsp %016lx  rflags %08lx  vector %lu error %lx", f.rip, f.rsp, f.rflags,
             f.vector, f.error_code);
  log::error("  rax %016lx  rbx %016lx  rcx %016lx  rdx %016lx", f.rax, f.rbx, f.rcx, f.rdx);
  log::error("  rsi %016lx  rdi %016lx  rbp %016lx  r8  %016lx", f.rsi, f.rdi, f.rbp, f.r8);
  log::error("  r9  %016lx  r10 %016lx  r11 %016lx  r12 %016lx", f.r9, f.r10, f.r11, f.r12);
  log::error("  r13 %016lx  r14 %016lx  r15 %016lx  cr2 %016lx", f.r13, f.r14, f.r15, read_cr2());
}

class backtrace {
public:
  void print(const trap_frame& f) {
    log::error("backtrace:");
    line(f.rip, "");
    if (from_kernel(f))
      kernel_frames(f.rbp);
    else
      application_words(f.rsp);
  }

  void kernel_frames(uintptr_t rbp) {
    const uintptr_t top = this_cpu().kernel_stack_top;
    while (rbp >= top - mem::kernel_stack_size && rbp <= top - 32 && rbp % 8 == 0 &&
           count_ < max_frames) {
      const auto* words = reinterpret_cast<const uintptr_t*>(rbp);
      if (!kernel_text().holds(words[1]))
        break;
      // The first line is where something happened, the others are return addresses.
      line(count_ ? words[1] : words[1] - 1, "");
      if (words[0] <= rbp)
        break;
      rbp = words[0];
    }
    const uintptr_t app_rsp = *reinterpret_cast<const uintptr_t*>(top - 16);
    if (mem::in_app_range(app_rsp, 8))
      application_words(app_rsp);
  }

  void application_words(uintptr_t rsp) {
    rsp = align_down(rsp, 8);
    for (size_t i = 0; i < scanned_words && count_ < max_frames; i++, rsp += 8) {
      uintptr_t word;
      if (!mem::in_app_range(rsp, 8) ||
          !mem::copy_from_app(&word, reinterpret_cast<void*>(rsp), sizeof(word)).ok())
        break;
      if (app_text().holds(word - 7) && app_text().holds(word) && follows_call(word))
        line(word, " ?");
    }
  }

  void line(uintptr_t address, const char* mark) {
    log::error("  #%lu 0x%016lx%s", count_++, address, mark);
  }

private:
  size_t count_ = 0;
};

// A crash inside a crash report must still end the VM.
void begin_report() {
  disable_interrupts();
  if (crashing)
    power_off(panic_status);
  crashing = true;
  this_cpu().spinlock_depth = 0;
}

const char* signal_name(int signal) {
  switch (signal) {
  case SIGSEGV:
    return "SIGSEGV (invalid memory access)";
  case SIGBUS:
    return "SIGBUS";
  case SIGILL:
    return "SIGILL (illegal instruction)";
  case SIGFPE:
    return "SIGFPE (arithmetic error)";
  case SIGABRT:
    return "SIGABRT (abort)";
  case SIGTRAP:
    return "SIGTRAP";
  case SIGTERM:
    return "SIGTERM";
  case SIGINT:
    return "SIGINT";
  case SIGKILL:
    return "SIGKILL";
  case SIGPIPE:
    return "SIGPIPE";
  default:
    return "a signal";
  }
}
} // namespace

void crash_with_frame(const trap_frame& frame, const char* format, ...) {
  begin_report();
  char text[256];
  va_list arguments;
  va_start(arguments, format);
  log::vformat(text, sizeof(text), format, arguments);
  va_end(arguments);
  log::error("oblako: kernel panic: %s", text);
  print_registers(frame);
  backtrace().print(frame);
  power_off(panic_status);
}

void report_out_of_memory(const trap_frame& frame) {
  begin_report();
  const auto frames = mem::frame_usage();
  const auto areas = mem::area_usage();
  log::error(
      "oblako: out of memory: the application uses %lu kB, the kernel heap %lu kB, of %lu kB",
      areas.resident_bytes >> 10, mem::heap_bytes_in_use() >> 10, frames.total_bytes >> 10);
  log::error(
      "oblako: give the VM more memory (MEM= with `make run`), or limit what the application "
      "may use (redis: maxmemory)");
  backtrace().print(frame);
  power_off(panic_status);
}

} // namespace oblako::arch

namespace oblako::log {

void panic(const char* format, ...) {
  arch::begin_report();
  char text[256];
  va_list arguments;
  va_start(arguments, format);
  vformat(text, sizeof(text), format, arguments);
  va_end(arguments);
  error("oblako: kernel panic: %s", text);
  error("backtrace:");
  arch::backtrace().kernel_frames(reinterpret_cast<uintptr_t>(__builtin_frame_address(0)));
  arch::power_off(arch::panic_status);
}

} // namespace oblako::log

extern "C" [[noreturn]] void oblako_fatal_signal(oblako::arch::trap_frame* frame, int signal,
                                                 int code, uintptr_t address) {
  using namespace oblako;
  arch::begin_report();
  const bool fault = signal == SIGSEGV || signal == SIGBUS || signal == SIGILL ||
                     signal == SIGFPE || signal == SIGTRAP || signal == SIGABRT;
  if (frame && (signal == SIGSEGV || signal == SIGBUS))
    log::error("oblako: the application died of %s at address 0x%lx (code %d)",
               arch::signal_name(signal), address, code);
  else
    log::error("oblako: the application was ended by %s (signal %d)", arch::signal_name(signal),
               signal);
  if (fault && frame) {
    arch::print_registers(*frame);
    arch::backtrace().print(*frame);
  }
  arch::power_off(128 + signal);
}

// The kernel's check of the canary failed: called by compiled code at the end of a function.
extern "C" [[noreturn]] void __stack_chk_fail() {
  using namespace oblako;
  arch::begin_report();
  const auto where = reinterpret_cast<uintptr_t>(__builtin_return_address(0));
  log::error("oblako: kernel panic: stack buffer overflow in the function at 0x%lx", where - 1);
  log::error("backtrace:");
  arch::backtrace().kernel_frames(reinterpret_cast<uintptr_t>(__builtin_frame_address(0)));
  arch::power_off(arch::panic_status);
}

// The same for the application (libc/overrides/__stack_chk_fail.c). As abort(), but for handlers:
// they would run in a program whose stack is not its own any more.
OBLAKO_SYSCALL(oblako_stack_overwritten, do_stack_overwritten);
extern "C" [[noreturn]] void do_stack_overwritten(uintptr_t where, uintptr_t stack) {
  using namespace oblako;
  arch::begin_report();
  log::error(
      "oblako: the application was ended by a stack buffer overflow in the function at 0x%lx",
      where - 1);
  log::error("backtrace:");
  arch::backtrace report;
  report.line(where - 1, "");
  report.application_words(stack);
  arch::power_off(128 + SIGABRT);
}
