// The thread table: every thread but the main one, by number. A thread number is not used again
// before all others were (musl keeps owners' numbers in mutexes).
#include "core/sched/thread_table.hh"

#include "core/base/late.hh"

namespace oblako::sched {

constinit spinlock thread_table_lock{lock_rank::thread_table};

namespace {

// Linux's limit; musl's mutexes leave 30 bits.
constexpr int32_t main_tid = 1, last_tid = 4'194'303;

struct by_tid {
  using type = int32_t;
  int32_t operator()(const thread& t) const { return t.tid; }
};
using table = boost::intrusive::set<
    thread,
    boost::intrusive::member_hook<thread, decltype(thread::table_hook), &thread::table_hook>,
    boost::intrusive::key_of_value<by_tid>>;

// Guarded by thread_table_lock.
late<table> others;
bool others_ready;
int32_t last_given = main_tid;
uint32_t application_threads = 1; // the main one
bool main_gone;

table& all_others() {
  if (!others_ready) {
    others.construct();
    others_ready = true;
  }
  return *others;
}

bool take_tid(int32_t& tid) {
  for (int32_t tries = 0; tries < last_tid; ++tries) {
    last_given = last_given == last_tid ? main_tid + 1 : last_given + 1;
    if (all_others().find(last_given) == all_others().end()) {
      tid = last_given;
      return true;
    }
  }
  return false;
}

} // namespace

result<void> register_thread(thread& t) {
  spinlock_guard guard(thread_table_lock);
  if (!take_tid(t.tid))
    return error::again;
  all_others().insert(t);
  application_threads += t.is_application;
  return {};
}

uint32_t forget_thread(thread& t) {
  spinlock_guard guard(thread_table_lock);
  if (&t == &main_thread())
    main_gone = true;
  else
    all_others().erase(all_others().iterator_to(t));
  return application_threads -= t.is_application;
}

thread* find_thread(int32_t tid) {
  if (tid == main_tid)
    return main_gone ? nullptr : &main_thread();
  auto found = all_others().find(tid);
  return found == all_others().end() ? nullptr : &*found;
}

void for_each_thread(bool (*f)(thread&, void*), void* argument) {
  spinlock_guard guard(thread_table_lock);
  if (!main_gone && !f(main_thread(), argument))
    return;
  for (thread& t : all_others())
    if (!f(t, argument))
      return;
}

} // namespace oblako::sched
