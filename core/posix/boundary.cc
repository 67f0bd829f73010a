// Leaving the kernel with pending work: called by arch/x64/syscall_exit.S after a system call and
// by the entry stubs after an interrupt or exception in application code. Both end with interrupts
// off and nothing pending, so that nothing can be overlooked on the last instructions.
#include "core/posix/boundary.hh"

#include "arch/x64/cpu.hh"
#include "core/base/result.hh"
#include "core/mem/app_memory.hh"
#include "core/sched/cpu_state.hh"

namespace oblako::posix {
namespace {

// Where the stubs of syscall_entry.hh keep the application's stack pointer.
uintptr_t application_stack_pointer() {
  return *reinterpret_cast<uint64_t*>(arch::this_cpu().kernel_stack_top - 16);
}

// Makes the frame describe the moment right behind the call. A return address that cannot be read
// or is none of the application's becomes 0: the application faults there, as it would have on the
// `ret`.
void complete_frame(arch::trap_frame& frame, uintptr_t stack_pointer) {
  auto return_address = mem::read_app(reinterpret_cast<const uint64_t*>(stack_pointer));
  const bool good = return_address.ok() && mem::in_app_range(return_address.value(), 1);
  frame.rip = good ? return_address.value() : 0;
  frame.rsp = stack_pointer + sizeof(uint64_t);
  frame.rflags = arch::rflags_fixed | arch::rflags_interrupts;
  frame.r11 = frame.r10 = frame.r9 = frame.r8 = 0;
  frame.rdi = frame.rsi = frame.rdx = frame.rcx = 0;
  frame.vector = frame.error_code = 0;
  arch::fill_segments(frame);
}

void restart_call(arch::trap_frame& frame, const interrupted_call& call) {
  complete_frame(frame, call.stack_pointer);
  frame.rip = call.stub;
  frame.rsp = call.stack_pointer;
  frame.r9 = call.arguments[0];
  frame.r8 = call.arguments[1];
  frame.rcx = call.arguments[2];
  frame.rdx = call.arguments[3];
  frame.rsi = call.arguments[4];
  frame.rdi = call.arguments[5];
}

bool is_restart(long result) {
  return result == -static_cast<long>(error::restart) ||
         result == -static_cast<long>(error::restart_no_handler);
}

// One round of pending work. Returns true if a signal handler is going to run.
bool work(arch::trap_frame& frame, const interrupted_call* call) {
  const uint32_t pending = arch::pending_work();
  if (pending & arch::pending_reschedule)
    sched::reschedule();
  if (!(pending & arch::pending_signal))
    return false;
  if (oblako_deliver_signals)
    return oblako_deliver_signals(frame, call);
  sched::clear_pending_signal(sched::current());
  return false;
}

} // namespace
} // namespace oblako::posix

// Returns true if the whole frame has to be restored, false if only rax was (perhaps) changed.
extern "C" bool oblako_leave_system_call(oblako::arch::trap_frame* frame, uintptr_t stub,
                                         const uint64_t* arguments) {
  using namespace oblako;
  using namespace oblako::posix;
  const long result = static_cast<long>(frame->rax);
  const bool interrupted = is_restart(result);
  const interrupted_call call{stub, arguments, application_stack_pointer(),
                              result == -static_cast<long>(error::restart)};
  bool complete = false, handler = false;
  do {
    if (!complete && (arch::pending_work() & arch::pending_signal)) {
      complete_frame(*frame, call.stack_pointer);
      complete = true;
    }
    handler |= work(*frame, interrupted && !handler ? &call : nullptr);
    arch::disable_interrupts();
  } while (arch::pending_work() && (arch::enable_interrupts(), true));

  if (handler)
    return true;
  if (!interrupted)
    return false;
  if (!stub) {
    sched::current().restart_deadline = 0;
    frame->rax = static_cast<uint64_t>(-static_cast<long>(error::intr));
    return false;
  }
  arch::enable_interrupts();
  restart_call(*frame, call);
  arch::disable_interrupts();
  return true;
}

extern "C" void oblako_return_to_application(oblako::arch::trap_frame* frame, bool full_state) {
  using namespace oblako;
  sched::thread& self = sched::current();
  self.vector_state_live = full_state;
  while (arch::pending_work()) {
    arch::enable_interrupts();
    posix::work(*frame, nullptr);
    arch::disable_interrupts();
  }
  self.vector_state_live = false;
}
