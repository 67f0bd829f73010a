// Pending signals: adding them, picking who receives them, taking them out.
#include "core/posix/crash_watch.hh"
#include "core/posix/signal.hh"

#include "core/base/needs.hh"
#include "core/mem/frames.hh"
#include "core/mem/heap.hh"

namespace oblako::sched {
// Without clone there is only the main thread, and no table.
[[gnu::weak]] void for_each_thread(bool (*f)(thread&, void*), void* argument);
} // namespace oblako::sched

namespace oblako::posix {

signal_action signal_actions[signal_count];
queued_signal* process_queue;
sched::wait_queue signal_arrived;

namespace {

constexpr uint64_t not_set = ~uint64_t{0};
uint64_t queue_limit = not_set; // atomic
uint64_t queued_signals;        // atomic

struct pending_set {
  signal_mask& mask;
  queued_signal*& queue;
};
pending_set set_of_process() {
  return {process_pending, process_queue};
}
pending_set set_of(sched::thread& t) {
  return {t.signals.pending, t.signals.queue};
}

// At most one step for each signal there is.
queued_signal** find(pending_set set, int signo) {
  queued_signal** link = &set.queue;
  while (*link && (*link)->info.si_signo != signo)
    link = &(*link)->next_signal;
  return link;
}

void append(pending_set set, queued_signal& node) {
  node.next = nullptr;
  queued_signal* oldest = *find(set, node.info.si_signo);
  if (oldest) {
    oldest->youngest->next = &node;
    oldest->youngest = &node;
    return;
  }
  node.youngest = &node;
  node.next_signal = set.queue;
  set.queue = &node;
}

void fill_default(siginfo_t& info, int signo) {
  info = {};
  info.si_signo = signo;
  info.si_code = SI_KERNEL;
}

// Takes the oldest instance of signo, which is pending, out of the set.
void take_from(pending_set set, int signo, siginfo_t& info, queued_signal*& to_free) {
  queued_signal** link = find(set, signo);
  queued_signal* found = *link;
  if (!found) {
    set.mask &= ~bit_of(signo);
    fill_default(info, signo);
    return;
  }
  if (queued_signal* more = found->next) {
    more->youngest = found->youngest;
    more->next_signal = found->next_signal;
    *link = more;
  } else {
    set.mask &= ~bit_of(signo);
    *link = found->next_signal;
  }
  found->next = nullptr;
  info = found->info;
  if (found->taken)
    found->taken(*found, info);
  else
    to_free = found;
}

bool accepts(const sched::thread& t, int signo) {
  return t.is_application && t.state != sched::thread_state::dead &&
         !(t.signals.blocked & bit_of(signo));
}

void notify(sched::thread& t) {
  sched::set_pending_signal(t);
  sched::wake(t);
}

struct search {
  int signo;
  bool found = false;
};
bool try_receiver(sched::thread& t, void* p) {
  auto& s = *static_cast<search*>(p);
  {
    sched::spinlock_guard guard(signal_lock);
    s.found = accepts(t, s.signo);
  }
  if (s.found)
    notify(t);
  return !s.found;
}

// The main thread if it takes the signal, else any.
void pick_receiver(int signo) {
  search s{signo};
  if (sched::for_each_thread)
    sched::for_each_thread(try_receiver, &s); // begins with the main thread
  else
    try_receiver(sched::main_thread(), &s);
}

enum class addition { queued, dropped, no_room };
// Signal lock held. A standard signal that is pending already does not queue.
addition add(pending_set set, int signo, const siginfo_t* info, queued_signal* node) {
  const bool of_timer = node && node->taken;
  if ((set.mask & bit_of(signo)) && signo < first_realtime && !of_timer)
    return addition::dropped;
  if (node)
    append(set, *node);
  else if (info && signo >= first_realtime && info->si_code != SI_USER)
    return addition::no_room; // of kill() only the details are lost, as on Linux
  set.mask |= bit_of(signo);
  return addition::queued;
}

} // namespace

uint64_t signal_queue_limit() {
  const uint64_t limit = __atomic_load_n(&queue_limit, __ATOMIC_RELAXED);
  return limit != not_set ? limit : mem::frame_counts.total;
}

void set_signal_queue_limit(uint64_t limit) {
  __atomic_store_n(&queue_limit, min_of(limit, not_set - 1), __ATOMIC_RELAXED);
}

bool count_queued_signal() {
  if (__atomic_add_fetch(&queued_signals, 1, __ATOMIC_RELAXED) <= signal_queue_limit())
    return true;
  uncount_queued_signal();
  return false;
}

void uncount_queued_signal() {
  __atomic_fetch_sub(&queued_signals, 1, __ATOMIC_RELAXED);
}

namespace {

// The kernel's memory for a signal's details; nullptr: no room. A standard signal is pending once,
// so the limit need not hold for those.
queued_signal* make_node(int signo, const siginfo_t& info) {
  if (!count_queued_signal()) {
    if (signo >= first_realtime)
      return nullptr;
    __atomic_fetch_add(&queued_signals, 1, __ATOMIC_RELAXED);
  }
  auto made = mem::make<queued_signal>();
  if (!made.ok()) {
    uncount_queued_signal();
    return nullptr;
  }
  made->get()->info = info;
  return made->release();
}

} // namespace

bool is_ignored(int signo) {
  const uintptr_t handler = signal_actions[signo - 1].handler;
  if (handler != default_handler)
    return handler == ignore_handler;
  // Stopping is ignored too: nobody outside could tell the VM to go on.
  constexpr signal_mask by_default = bit_of(SIGCHLD) | bit_of(SIGURG) | bit_of(SIGWINCH) |
                                     bit_of(SIGCONT) | bit_of(SIGSTOP) | bit_of(SIGTSTP) |
                                     bit_of(SIGTTIN) | bit_of(SIGTTOU);
  return by_default & bit_of(signo);
}

result<bool> send_signal(target to, sched::thread* t, int signo, const siginfo_t* info,
                         queued_signal* node) {
  OBLAKO_NEEDS(oblako_deliver_signals);
  OBLAKO_NEEDS(oblako_futex_alone);
  queued_signal* made = nullptr;
  if (!node && info && arch::this_cpu().interrupt_depth == 0)
    node = made = make_node(signo, *info);
  const bool to_process = to == target::process;
  addition added = addition::dropped;
  bool blocked;
  {
    sched::spinlock_guard guard(signal_lock);
    blocked = (to_process ? sched::main_thread() : *t).signals.blocked & bit_of(signo);
    // A blocked signal stays pending even if it is ignored now: the action may change.
    if (blocked || !is_ignored(signo))
      added = add(to_process ? set_of_process() : set_of(*t), signo, info, node);
  }
  if (made && added != addition::queued)
    free_signal(made);
  if (t && signo == sigcancel) {
    __atomic_store_n(&t->cancel_requested, true, __ATOMIC_RELEASE);
    sched::wake(*t);
  }
  if (added == addition::no_room)
    return error::again;
  if (added == addition::dropped)
    return false;
  if (to_process)
    pick_receiver(signo);
  else if (!blocked)
    notify(*t);
  signal_arrived.wake_all();
  return true;
}

int take_signal(signal_mask wanted, siginfo_t& info, queued_signal*& to_free) {
  sched::thread& self = sched::current();
  // What the thread did to itself comes first, then its own signals before the process's.
  constexpr signal_mask synchronous = bit_of(SIGSEGV) | bit_of(SIGBUS) | bit_of(SIGILL) |
                                      bit_of(SIGTRAP) | bit_of(SIGFPE) | bit_of(SIGSYS);
  for (pending_set set : {set_of(self), set_of_process()}) {
    signal_mask found = set.mask & wanted;
    if (found & synchronous)
      found &= synchronous;
    if (found) {
      const int signo = __builtin_ctzll(found) + 1;
      take_from(set, signo, info, to_free);
      return signo;
    }
  }
  return 0;
}

void free_signal(queued_signal* node) {
  if (!node)
    return;
  mem::release_sized(node, sizeof(*node));
  uncount_queued_signal();
}

void retarget(signal_mask set) {
  for (int signo = 1; signo <= signal_count; ++signo)
    if (set & bit_of(signo))
      pick_receiver(signo);
}

namespace {

// Signals are thrown away some at a time: others wait for the lock, with interrupts off.
struct discarding {
  static constexpr unsigned batch = 64;
  int signo;
  queued_signal* to_free = nullptr;
  unsigned left = batch;

  // Signal lock held.
  void discard_from(pending_set set) {
    for (; left && (set.mask & bit_of(signo)); --left) {
      siginfo_t info;
      queued_signal* node = nullptr;
      take_from(set, signo, info, node);
      if (node) {
        node->next = to_free;
        to_free = node;
      }
    }
  }
  static bool discard_of_thread(sched::thread& t, void* p) {
    auto& d = *static_cast<discarding*>(p);
    sched::spinlock_guard guard(signal_lock);
    d.discard_from(set_of(t));
    return d.left != 0;
  }
  // Locks not held. True if there may be more.
  bool finish_batch() {
    while (to_free)
      free_signal(std::exchange(to_free, to_free->next));
    sched::yield_if_needed();
    return std::exchange(left, unsigned{batch}) == 0;
  }
};

} // namespace

void discard_pending(int signo) {
  discarding d{signo};
  do {
    {
      sched::spinlock_guard guard(signal_lock);
      d.discard_from(set_of_process());
    }
    if (sched::for_each_thread)
      sched::for_each_thread(discarding::discard_of_thread, &d);
    else
      discarding::discard_of_thread(sched::main_thread(), &d);
  } while (d.finish_batch());
}

void drop_thread_signals(sched::thread& t) {
  signal_mask handed_over;
  {
    sched::spinlock_guard guard(signal_lock);
    handed_over = process_pending & ~t.signals.blocked;
    t.signals.blocked = ~signal_mask{0}; // is picked for nothing any more
    if (forget_crash_handler)
      forget_crash_handler(t);
  }
  while (const signal_mask pending = t.signals.pending) {
    discarding d{__builtin_ctzll(pending) + 1};
    do
      discarding::discard_of_thread(t, &d);
    while (d.finish_batch());
  }
  retarget(handed_over);
}

bool fatal_signal_pending() {
  sched::spinlock_guard guard(signal_lock);
  const signal_state& s = sched::current().signals;
  for (signal_mask set = (s.pending | process_pending) & ~s.blocked; set; set &= set - 1) {
    const int signo = __builtin_ctzll(set) + 1;
    if (signal_actions[signo - 1].handler == default_handler && !is_ignored(signo))
      return true;
  }
  return false;
}

void send_process_signal(int signo) {
  (void)send_signal(target::process, nullptr, signo, nullptr).ok();
}

void raise_on_current(int signo) {
  siginfo_t info{};
  info.si_signo = signo;
  info.si_code = SI_USER;
  (void)send_signal(target::thread, &sched::current(), signo, &info).ok();
}

} // namespace oblako::posix
