// Ranked spinlocks. Holding one forbids blocking and touching application memory; they are taken
// with interrupts off so that interrupt handlers may take them too. Locks nest only towards
// higher ranks; debug builds panic on a violation.
#pragma once

#include "arch/x64/cpu.hh"
#include "arch/x64/percpu.hh"
#include "core/base/types.hh"
#include "core/log/log.hh"

namespace oblako::sched {

enum class lock_rank : uint32_t {
  none = 0,
  descriptors = 5,
  fs = 10,
  net = 20,
  thread_table = 28,
  signal = 30,
  futex = 40,
  wait_queue = 50,
  ready_list = 52,
  device = 55,
  run_queue = 60,
  timer = 70,
  memory = 80,
  frames = 85,
  log = 90,
};

class spinlock : noncopyable {
public:
  constexpr explicit spinlock(lock_rank rank) : rank_(rank) {}

  void lock() {
    if (__atomic_exchange_n(&held_, 1, __ATOMIC_ACQUIRE))
        [[unlikely]] // pairs with unlock's release
      wait(held_);
    ++arch::this_cpu().spinlock_depth;
    note_locked();
  }
  void unlock() {
    note_unlocked();
    --arch::this_cpu().spinlock_depth;
    __atomic_store_n(&held_, 0, __ATOMIC_RELEASE);
  }
  lock_rank rank() const { return rank_; }

private:
  // A crash report goes on through locks that whoever crashed holds: nobody will release them.
  [[gnu::noinline, gnu::cold]] static void wait(uint32_t& held) {
    while (__atomic_exchange_n(&held, 1, __ATOMIC_ACQUIRE) && !arch::crashing)
      arch::pause();
  }

#ifdef OBLAKO_CHECKS
  // Locks without a rank are not checked. Interrupt handlers may take any lock that is taken with
  // interrupts off. Wait queues nest: a notification may go on to another queue (epoll).
  void note_locked() {
    if (rank_ == lock_rank::none)
      return;
    arch::percpu& cpu = arch::this_cpu();
    const auto outer = static_cast<lock_rank>(cpu.lock_rank);
    if (cpu.interrupt_depth == 0 &&
        (rank_ < outer || (rank_ == outer && rank_ != lock_rank::wait_queue)))
      log::panic("spinlock of rank %u taken while one of rank %u is held",
                 static_cast<unsigned>(rank_), static_cast<unsigned>(outer));
    outer_rank_ = outer;
    cpu.lock_rank = static_cast<uint32_t>(rank_);
  }
  void note_unlocked() {
    if (rank_ != lock_rank::none)
      arch::this_cpu().lock_rank = static_cast<uint32_t>(outer_rank_);
  }
  lock_rank outer_rank_ = lock_rank::none; // held by this CPU when this one was taken
#else
  void note_locked() {}
  void note_unlocked() {}
#endif
  uint32_t held_ = 0;
  lock_rank rank_;
};

// Interrupts off and the lock held, for the life of the object.
class spinlock_guard : noncopyable {
public:
  explicit spinlock_guard(spinlock& l) : lock_(l) { lock_.lock(); }
  ~spinlock_guard() { lock_.unlock(); }

private:
  arch::interrupts_off off_;
  spinlock& lock_;
};

// The lock alone, for locks that no interrupt handler takes: the kernel is not preempted, so an
// interrupt while it is held only delays.
class thread_spinlock_guard : noncopyable {
public:
  explicit thread_spinlock_guard(spinlock& l) : lock_(l) { lock_.lock(); }
  ~thread_spinlock_guard() { lock_.unlock(); }

private:
  spinlock& lock_;
};

} // namespace oblako::sched
