// rt_sigreturn: back from a handler into what it interrupted. Everything in the frame may have been
// changed, on purpose or by damage: registers are taken over as they are, what only the kernel may
// decide is not, and addresses outside the application are refused.
#include "arch/x64/cpu.hh"
#include "arch/x64/signal_frame.hh"
#include "core/mem/app_memory.hh"
#include "core/posix/alternate_stack.hh"
#include "core/posix/boundary.hh"
#include "core/posix/crash_watch.hh"
#include "core/posix/signal.hh"

// Reached by a jump from libc/overrides/restore.s: rsp is the handler's, behind its return address.
asm(".pushsection .text.sys_rt_sigreturn,\"ax\",@progbits\n"
    ".globl sys_rt_sigreturn\n.type sys_rt_sigreturn,@function\nsys_rt_sigreturn:\n"
    "  cld\n"
    "  mov %rsp, %rdi\n"
    "  mov %gs:8, %rax\n"
    "  mov %rsp, -16(%rax)\n"
    "  lea -16(%rax), %rsp\n"
    "  call do_rt_sigreturn\n"
    "  ud2\n"
    ".size sys_rt_sigreturn, .-sys_rt_sigreturn\n.popsection\n");

extern "C" void oblako_fault_signal(oblako::arch::trap_frame* frame, int signo, int code,
                                    uintptr_t address);

namespace oblako::posix {
namespace {

constexpr size_t vector_alignment = 64;

// The whole area if it can be read, else its legacy part.
bool read_vector_state(void* to, uintptr_t from) {
  const auto* app = reinterpret_cast<const void*>(from);
  size_t bytes = arch::signal_vector_bytes();
  if (!mem::copy_from_app(to, app, bytes).ok()) {
    bytes = arch::legacy_vector_state_size;
    if (!mem::copy_from_app(to, app, bytes).ok())
      return false;
  }
  arch::check_vector_state(to, bytes);
  return true;
}

bool read_frame(arch::signal_frame& f, void* vectors, uintptr_t stack_pointer) {
  const uintptr_t at = stack_pointer - sizeof(f.restorer);
  if (!mem::copy_from_app(&f, reinterpret_cast<const void*>(at), sizeof(f)).ok())
    return false;
  if (!mem::in_app_range(f.registers.rip, 1) || !mem::in_app_range(f.registers.rsp, 0))
    return false;
  if (f.registers.vector_state)
    return read_vector_state(vectors, f.registers.vector_state);
  arch::reset_vector_control();
  arch::store_vector_state(vectors);
  return true;
}

void restore_alternate_stack(const arch::alternate_stack& stack) {
  signal_state& s = sched::current().signals;
  if (stack.flags & ss_disable) {
    s.alternate_stack = 0;
  } else if (mem::in_app_range(stack.base, stack.size)) {
    s.alternate_stack = stack.base;
    s.alternate_stack_size = stack.size;
    s.alternate_stack_flags = stack.flags & ss_autodisarm;
  }
}

// As a fault of the application at this point: its handler for SIGSEGV gets a chance.
[[noreturn]] void reject(uintptr_t stack_pointer) {
  arch::trap_frame frame{};
  frame.rsp = stack_pointer;
  frame.rip = signal_actions[SIGSEGV - 1].restorer;
  frame.rflags = arch::rflags_fixed | arch::rflags_interrupts;
  arch::fill_segments(frame);
  arch::disable_interrupts();
  oblako_fault_signal(&frame, SIGSEGV, SI_KERNEL, 0);
  oblako_return_to_application(&frame, false);
  arch::resume(frame);
}

} // namespace
} // namespace oblako::posix

extern "C" [[noreturn]] void do_rt_sigreturn(uintptr_t stack_pointer) {
  using namespace oblako;
  using namespace oblako::posix;
  arch::signal_frame f;
  void* vectors = __builtin_alloca_with_align(arch::signal_vector_bytes(), vector_alignment * 8);
  if (!read_frame(f, vectors, stack_pointer))
    reject(stack_pointer);

  leave_crash_handler(stack_pointer - sizeof(f.restorer));
  restore_alternate_stack(f.stack);
  set_blocked(f.mask);
  sched::current().cancellation_point = f.registers.cancellation_point != 0;
  arch::trap_frame frame;
  arch::load_registers(frame, f.registers);
  arch::disable_interrupts();
  arch::restore_vector_state(vectors);
  oblako_return_to_application(&frame, true);
  arch::resume(frame);
}
