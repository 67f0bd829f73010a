// Entering a handler: the signal frame on the application's stack. It is built in kernel memory and
// copied, so a bad stack is an error and nothing else.
#include "arch/x64/signal_frame.hh"

#include "core/mem/app_memory.hh"
#include "core/posix/alternate_stack.hh"
#include "core/posix/crash_watch.hh"
#include "core/posix/signal.hh"

namespace oblako::posix {
namespace {

constexpr size_t red_zone = 128, vector_alignment = 64, stack_alignment = 16;

struct frame_place {
  uintptr_t frame, vector_state;
  bool fits;
};

frame_place place_frame(const arch::trap_frame& interrupted, const signal_state& s,
                        uint64_t action_flags) {
  uintptr_t top = interrupted.rsp - red_zone;
  uintptr_t lowest = mem::app_range_start;
  const bool on_alternate = on_alternate_stack(s, interrupted.rsp);
  if ((action_flags & SA_ONSTACK) && s.alternate_stack && !on_alternate)
    top = s.alternate_stack + s.alternate_stack_size;
  if (s.alternate_stack && (on_alternate || (action_flags & SA_ONSTACK)))
    lowest = s.alternate_stack;
  frame_place p;
  p.vector_state = align_down(top - arch::signal_vector_bytes(), vector_alignment);
  // As behind a call: the return address makes the stack pointer 8 off.
  p.frame =
      align_down(p.vector_state - sizeof(arch::signal_frame), stack_alignment) - sizeof(uint64_t);
  p.fits = top <= mem::app_range_end && p.frame >= lowest && p.frame < top;
  return p;
}

void fill_frame(arch::signal_frame& f, const arch::trap_frame& interrupted,
                const handler_call& call, uintptr_t vector_state) {
  sched::thread& self = sched::current();
  f.restorer = call.action.restorer;
  f.flags = arch::frame_has_stack_segment |
            (arch::vector_features() ? arch::frame_has_extended_state : 0);
  f.link = 0;
  f.stack = {self.signals.alternate_stack, describe_alternate_stack(self.signals, interrupted.rsp),
             0, self.signals.alternate_stack_size};
  arch::store_registers(f.registers, interrupted);
  f.registers.old_mask = call.saved_mask;
  f.registers.fault_address = call.fault_address;
  f.registers.vector_state = vector_state;
  f.registers.cancellation_point = self.cancellation_point;
  f.mask = call.saved_mask;
  static_assert(sizeof(f.info) == sizeof(siginfo_t));
  __builtin_memcpy(f.info, &call.info, sizeof(f.info));
}

// A handler may be in the middle of a cancellation point, but is none itself.
void start_handler(arch::trap_frame& frame, const handler_call& call, uintptr_t at) {
  frame.rip = call.action.handler;
  frame.rsp = at;
  frame.rdi = static_cast<uint64_t>(call.signo);
  frame.rsi = at + offsetof(arch::signal_frame, info);
  frame.rdx = at + offsetof(arch::signal_frame, flags);
  frame.rax = 0;
  frame.rflags = arch::rflags_fixed | arch::rflags_interrupts;
  sched::current().cancellation_point = false;
}

} // namespace

bool push_signal_frame(arch::trap_frame& frame, const handler_call& call) {
  signal_state& s = sched::current().signals;
  const frame_place place = place_frame(frame, s, call.action.flags);
  if (!place.fits || !mem::in_app_range(call.action.handler, 1))
    return false;
  arch::signal_frame f;
  fill_frame(f, frame, call, place.vector_state);
  void* vectors = __builtin_alloca_with_align(arch::signal_vector_bytes(), vector_alignment * 8);
  arch::store_vector_state(vectors);
  arch::reset_vector_control();
  if (!mem::copy_to_app(reinterpret_cast<void*>(place.vector_state), vectors,
                        arch::signal_vector_bytes())
           .ok() ||
      !mem::copy_to_app(reinterpret_cast<void*>(place.frame), &f, sizeof(f)).ok())
    return false;
  if (s.alternate_stack_flags & ss_autodisarm)
    s.alternate_stack = 0;
  start_handler(frame, call, place.frame);
  watch_crash_handler(call.signo, call.action, place.frame);
  return true;
}

} // namespace oblako::posix

// What rt_sigaction links this file by (push_signal_frame is referred to weakly).
extern "C" const char oblako_handlers = 0;
