// Signals. What may be sent from anywhere is at the top; the rest is shared by the files of the
// signal code (signal_*.cc, sys_sig*.cc, sys_kill.cc).
//
// A signal waits in a pending set: the thread's own, or the process's (any thread that does not
// block it may take it). Whoever adds one picks a receiver, sets its pending mark and wakes it; the
// receiver takes it at the boundary. A thread that blocks a signal, or ends, hands the process's
// pending signals it was picked for to another.
#pragma once

#include "core/base/result.hh"
#include "core/posix/signal_state.hh"
#include "core/sched/thread.hh"
#include <signal.h>

namespace oblako::posix {

// To the process, as if from the kernel. Context: any, also interrupt.
void send_process_signal(int signo);
// To the running thread (SIGPIPE). Context: thread.
void raise_on_current(int signo);

// ppoll, pselect, epoll_pwait: the mask of one call. If a signal ends the call, the old mask comes
// back only when its handler has returned.
class call_signal_mask : noncopyable {
public:
  // An application's mask, or nullptr: then this is nothing. Errors: fault; inval (size).
  static result<void> check(const signal_mask* app_mask, size_t size, signal_mask& mask);
  explicit call_signal_mask(const signal_mask* mask); // kernel memory
  ~call_signal_mask();

private:
  bool active_;
};

// --- for the signal code itself

constexpr int signal_count = 64, first_realtime = 32;
constexpr int sigcancel = 33; // musl's, for pthread_cancel
constexpr signal_mask bit_of(int signo) {
  return signal_mask{1} << (signo - 1);
}
constexpr signal_mask unblockable = bit_of(SIGKILL) | bit_of(SIGSTOP);
constexpr bool valid_signal(int signo) {
  return signo >= 1 && signo <= signal_count;
}

// struct sigaction as the kernel's interface has it.
struct signal_action {
  uintptr_t handler; // 0: default, 1: ignore
  uint64_t flags;
  uintptr_t restorer;
  signal_mask mask;
};
static_assert(sizeof(signal_action) == 32);
constexpr uintptr_t default_handler = 0, ignore_handler = 1;

// A pending signal's details. On the kernel heap, or part of a timer: then it queues even if it is
// a standard signal, and `taken` is called when it has been taken out or thrown away, with the
// signal lock held; it may fill in the overrun count, and end the node's life.
//
// A pending set's queue has a list for each signal, oldest instance first, so that adding and
// taking cost the same however many wait.
struct queued_signal {
  queued_signal* next = nullptr; // the next instance of the same signal
  // --- only in the oldest instance of a signal
  queued_signal* youngest = nullptr;
  queued_signal* next_signal = nullptr; // the oldest instance of another signal
  siginfo_t info{};
  void (*taken)(queued_signal&, siginfo_t& info) = nullptr;
};

// RLIMIT_SIGPENDING: how many queued_signals there may be, those of timers included. Unless it was
// set, as many as the machine has page frames: a sixteenth of memory at most.
uint64_t signal_queue_limit();
void set_signal_queue_limit(uint64_t limit);
// Counts one more; false if that would be too many. Context: any.
bool count_queued_signal();
void uncount_queued_signal();

extern sched::spinlock signal_lock;
// --- guarded by signal_lock
extern signal_action signal_actions[signal_count]; // of signal n at n - 1
extern signal_mask process_pending;
extern queued_signal* process_queue;

// True if the signal has no effect at all for the present action.
bool is_ignored(int signo);
// Signal lock held: sets the running thread's pending mark as its mask and pending sets have it.
void update_pending_mark(sched::thread& self);
// Sets the running thread's mask (SIGKILL and SIGSTOP are never blocked). Context: thread.
void set_blocked(signal_mask blocked);

enum class target : bool { process, thread };
// Adds a signal to a pending set and wakes a receiver. `info` may be null. `node`, if given, is not
// linked anywhere yet. `t` is the receiver for target::thread (the thread table's lock keeps it, or
// it is the running one).
// False: it is ignored, or pending already and does not queue (a given node is not linked then).
// Errors: again (no room for the details of a real-time signal that was queued). Context: any.
result<bool> send_signal(target to, sched::thread* t, int signo, const siginfo_t* info,
                         queued_signal* node = nullptr);
// Takes the next signal of `wanted` out of the running thread's or the process's pending set; 0 if
// there is none. Signal lock held.
int take_signal(signal_mask wanted, siginfo_t& info, queued_signal*& to_free);
void free_signal(queued_signal* node); // what take_signal() gave to free, or nullptr
// Throws away every pending instance of a signal. Context: thread.
void discard_pending(int signo);
// An application thread ends and is in the thread table no more: throws away its signals, hands
// over the process's.
void drop_thread_signals(sched::thread& t);
// True if a signal that ends the program waits for the running thread. Context: thread.
bool fatal_signal_pending();
// Finds receivers for those of the process's pending signals that are in `set`.
void retarget(signal_mask set);

// Notified whenever a signal is added: sigtimedwait, signalfd.
extern sched::wait_queue signal_arrived;

// --- core/posix/signal_frame.cc, in images that can have handlers

struct handler_call {
  int signo;
  const siginfo_t& info;
  const signal_action& action;
  signal_mask saved_mask;
  uintptr_t fault_address;
};
// Makes the frame run the handler, with a signal frame on the application's stack. False if the
// stack cannot be written. Context: thread, interrupts on.
bool push_signal_frame(arch::trap_frame& frame, const handler_call& call);

// Blocks what the action says while its handler runs, and returns the mask for its frame.
signal_mask enter_handler(int signo, const signal_action& action);

} // namespace oblako::posix

extern "C" {
[[noreturn]] void oblako_fatal_signal(oblako::arch::trap_frame* frame, int signo, int code,
                                      uintptr_t address);
}
