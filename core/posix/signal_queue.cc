// Pending signals: adding them, picking who receives them, taking them out.
#include "core/posix/signal.hh"

#include "core/base/needs.hh"
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

void append(pending_set set, queued_signal& node) {
  queued_signal** link = &set.queue;
  while (*link)
    link = &(*link)->next;
  node.next = nullptr;
  *link = &node;
}

void fill_default(siginfo_t& info, int signo) {
  info = {};
  info.si_signo = signo;
  info.si_code = SI_KERNEL;
}

// Takes the oldest instance of signo, which is pending, out of the set.
void take_from(pending_set set, int signo, siginfo_t& info, queued_signal*& to_free) {
  queued_signal* found = nullptr;
  bool more = false;
  for (queued_signal** link = &set.queue; *link;) {
    queued_signal* node = *link;
    if (node->info.si_signo != signo) {
      link = &node->next;
    } else if (!found) {
      found = node;
      *link = node->next;
    } else {
      more = true;
      break;
    }
  }
  if (!more)
    set.mask &= ~bit_of(signo);
  if (!found) {
    fill_default(info, signo);
    return;
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

enum class addition { queued, dropped, no_memory };
// Signal lock held. A standard signal that is pending already does not queue.
addition add(pending_set set, int signo, const siginfo_t* info, queued_signal* node) {
  const bool of_timer = node && node->taken;
  if ((set.mask & bit_of(signo)) && signo < first_realtime && !of_timer)
    return addition::dropped;
  if (node)
    append(set, *node);
  else if (info && signo >= first_realtime)
    return addition::no_memory;
  set.mask |= bit_of(signo);
  return addition::queued;
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
  if (!node && info && arch::this_cpu().interrupt_depth == 0) {
    if (auto r = mem::make<queued_signal>(); r.ok()) {
      node = made = r->release();
      node->info = *info;
    }
  }
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
  if (added == addition::no_memory)
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
  if (node)
    mem::release_sized(node, sizeof(*node));
}

void retarget(signal_mask set) {
  for (int signo = 1; signo <= signal_count; ++signo)
    if (set & bit_of(signo))
      pick_receiver(signo);
}

namespace {

void discard_from(pending_set set, int signo, queued_signal*& to_free) {
  while (set.mask & bit_of(signo)) {
    siginfo_t info;
    queued_signal* node = nullptr;
    take_from(set, signo, info, node);
    if (node) {
      node->next = to_free;
      to_free = node;
    }
  }
}

struct discarding {
  int signo;
  queued_signal* to_free;
};
bool discard_of_thread(sched::thread& t, void* p) {
  auto& d = *static_cast<discarding*>(p);
  sched::spinlock_guard guard(signal_lock);
  discard_from(set_of(t), d.signo, d.to_free);
  return true;
}

void free_list(queued_signal* nodes) {
  while (nodes)
    free_signal(std::exchange(nodes, nodes->next));
}

} // namespace

void discard_pending(int signo) {
  discarding d{signo, nullptr};
  {
    sched::spinlock_guard guard(signal_lock);
    discard_from(set_of_process(), signo, d.to_free);
  }
  if (sched::for_each_thread)
    sched::for_each_thread(discard_of_thread, &d);
  else
    discard_of_thread(sched::main_thread(), &d);
  free_list(d.to_free);
}

void drop_thread_signals(sched::thread& t) {
  queued_signal* nodes = nullptr;
  signal_mask handed_over;
  {
    sched::spinlock_guard guard(signal_lock);
    for (int signo = 1; signo <= signal_count; ++signo)
      discard_from(set_of(t), signo, nodes);
    handed_over = process_pending & ~t.signals.blocked;
    t.signals.blocked = ~signal_mask{0}; // receives nothing any more
  }
  free_list(nodes);
  retarget(handed_over);
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
