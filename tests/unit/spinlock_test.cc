// Spinlocks while the machine writes its last report.
#include "core/sched/spinlock.hh"
#include <cstdlib>
#include <gtest/gtest.h>

namespace oblako::log {
void panic(const char*, ...) {
  abort();
}
} // namespace oblako::log

using namespace oblako;

namespace {

TEST(spinlock, ACrashReportDoesNotWaitForALockThatNobodyWillRelease) {
  sched::spinlock lock{sched::lock_rank::log};
  lock.lock();
  arch::crashing = true;
  lock.lock(); // would never return
  lock.unlock();
  lock.lock();
  lock.unlock();
  arch::crashing = false;
}

} // namespace
