// A non-maskable interrupt: prints what the machine is doing and goes on (monitor command nmi). It
// may strike anywhere, in code that holds any lock. So it takes none, touches only kernel stacks
// and thread records, which are always mapped (a fault would let the next NMI in on the same
// stack), and writes to the serial port past the log. Linked with the second thread; see traps.S.
#include "arch/x64/call_site.hh"
#include "arch/x64/context.hh"
#include "arch/x64/percpu.hh"
#include "arch/x64/serial.hh"
#include "core/log/log.hh"
#include "core/mem/kernel_map.hh"
#include "core/sched/thread.hh"

extern "C" char kernel_text_start[], kernel_text_end[];

namespace oblako::arch {
namespace {

constexpr unsigned max_frames = 16;
// Words above a switched-out thread's stack pointer, as oblako_switch_stacks leaves them.
constexpr size_t saved_rip = 7;

__attribute__((format(printf, 1, 2))) void line(const char* format, ...) {
  char text[192];
  va_list arguments;
  va_start(arguments, format);
  const size_t wanted = log::vformat(text, sizeof(text) - 1, format, arguments);
  va_end(arguments);
  const size_t length = min_of(wanted, sizeof(text) - 2);
  text[length] = '\n';
  serial_write(text, length + 1);
}

bool on_stack(uintptr_t p, uintptr_t top) {
  return p >= top - mem::kernel_stack_size && p <= top - 32 && p % 8 == 0;
}

bool in_text(uintptr_t a) {
  return a >= reinterpret_cast<uintptr_t>(kernel_text_start) + 7 &&
         a < reinterpret_cast<uintptr_t>(kernel_text_end);
}

// Every word on the stack that follows a call in the kernel: much of it has no frame pointers.
void frames(uintptr_t rip, uintptr_t at, uintptr_t top) {
  line("    #0 0x%016lx", rip);
  for (unsigned n = 1; n < max_frames && on_stack(at, top); at += 8) {
    const uintptr_t word = *reinterpret_cast<const uintptr_t*>(at);
    if (in_text(word) && follows_call(word))
      line("    #%u 0x%016lx ?", n++, word);
  }
}

const char* name_of(sched::thread_state s) {
  switch (s) {
  case sched::thread_state::runnable:
    return "runnable";
  case sched::thread_state::running:
    return "running";
  case sched::thread_state::blocked:
    return "blocked";
  default:
    return "dead";
  }
}

bool print_thread(sched::thread& t, void*) {
  line("  thread %d (%s) %s", t.tid, t.name, name_of(t.state));
  const uintptr_t at = t.context.stack_pointer;
  if (&t == current_thread() || !on_stack(at, t.kernel_stack_top) ||
      !on_stack(at + saved_rip * 8, t.kernel_stack_top))
    return true;
  const auto* words = reinterpret_cast<const uintptr_t*>(at);
  frames(words[saved_rip], at + (saved_rip + 1) * 8, t.kernel_stack_top);
  return true;
}

} // namespace
} // namespace oblako::arch

extern "C" void oblako_nmi(const oblako::arch::trap_frame* f) {
  using namespace oblako::arch;
  line("oblako: non-maskable interrupt");
  line("  rip %016lx  rsp %016lx  rbp %016lx  rflags %08lx", f->rip, f->rsp, f->rbp, f->rflags);
  line("  rax %016lx  rbx %016lx  rcx %016lx  rdx %016lx", f->rax, f->rbx, f->rcx, f->rdx);
  line("  rsi %016lx  rdi %016lx  r8  %016lx  r9  %016lx", f->rsi, f->rdi, f->r8, f->r9);
  frames(f->rip, f->rsp, this_cpu().kernel_stack_top);
  // No spinlock is held: the table is whole, and its lock free.
  if (this_cpu().spinlock_depth == 0)
    oblako::sched::for_each_thread(print_thread, nullptr);
  else
    line("  a spinlock is held: the threads cannot be listed");
}
