// The end of an application thread. Spec: set_robust_list(2) and the kernel's robust-futex ABI;
// CLONE_CHILD_CLEARTID.
#include "core/posix/thread_exit.hh"

#include "core/mem/app_memory.hh"
#include "core/posix/futex.hh"
#include "core/sched/cpu_state.hh"
#include "core/sched/thread_table.hh"

extern "C" [[noreturn]] void oblako_exit(int status);

namespace oblako::posix {

// core/posix/signal_queue.cc, if the image has signals.
[[gnu::weak]] void drop_thread_signals(sched::thread& t);

namespace {

// In application memory; so is the list, which may be damaged in every way.
struct robust_list_head {
  uintptr_t first;
  int64_t futex_offset;
  uintptr_t pending;
};
constexpr unsigned longest_list = 2048;
constexpr uintptr_t priority_inheritance_mark = 1; // in the lowest bit of a link

constexpr uint32_t futex_waiters = 0x80000000, futex_owner_died = 0x40000000,
                   futex_tid_mask = 0x3fffffff;

void hand_over(uintptr_t address, int32_t tid) {
  auto* word = reinterpret_cast<uint32_t*>(address);
  auto read = mem::read_app(word);
  if (!read.ok())
    return;
  uint32_t value = read.value();
  while ((value & futex_tid_mask) == static_cast<uint32_t>(tid)) {
    auto exchanged =
        mem::compare_exchange_app(word, value, (value & futex_waiters) | futex_owner_died);
    if (!exchanged.ok())
      return;
    if (*exchanged) {
      if (value & futex_waiters)
        futex_wake(address, 1);
      return;
    }
  }
}

void release_robust_mutexes(sched::thread& self) {
  const auto* head = static_cast<const robust_list_head*>(self.robust_list);
  if (!head)
    return;
  auto list = mem::read_app(head);
  if (!list.ok())
    return;
  const auto word_of = [&](uintptr_t entry) {
    return (entry & ~priority_inheritance_mark) + static_cast<uint64_t>(list->futex_offset);
  };
  uintptr_t entry = list->first;
  for (unsigned i = 0; i < longest_list; ++i) {
    const uintptr_t at = entry & ~priority_inheritance_mark;
    if (!at || at == reinterpret_cast<uintptr_t>(head))
      break;
    // The next link is read first: whoever gets the mutex may change the list.
    auto next = mem::read_app(reinterpret_cast<const uintptr_t*>(at));
    if (entry != list->pending)
      hand_over(word_of(entry), self.tid);
    if (!next.ok())
      break;
    entry = next.value();
    sched::yield_if_needed();
  }
  if (list->pending)
    hand_over(word_of(list->pending), self.tid);
}

} // namespace
} // namespace oblako::posix

extern "C" void oblako_exit_thread(int status) {
  using namespace oblako;
  sched::thread& self = sched::current();
  posix::release_robust_mutexes(self);
  // Before the joiner hears of it: it may ask for the thread by its number.
  const uint32_t left = sched::forget_thread(self);
  if (posix::drop_thread_signals)
    posix::drop_thread_signals(self);
  if (int32_t* word = self.clear_child_tid; word && mem::write_app(word, 0).ok())
    posix::futex_wake(reinterpret_cast<uintptr_t>(word), 1);
  if (left == 0)
    oblako_exit(status);
  sched::leave_for_ever();
}
