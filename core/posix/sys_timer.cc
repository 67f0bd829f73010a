// The timer_create family. A timer carries the node of its one pending signal, so that expiring
// needs no memory; further expirations before the signal is taken are its overrun. As on Linux it
// counts as a queued signal from the beginning, which limits how many there may be.
#include "arch/x64/syscall_entry.hh"
#include "core/base/late.hh"
#include "core/mem/app_memory.hh"
#include "core/mem/heap.hh"
#include "core/posix/interval_timer.hh"
#include "core/posix/time_arguments.hh"
#include "core/sched/wait.hh"

namespace oblako::sched {
// Without clone there is only the main thread.
[[gnu::weak]] thread* find_thread(int32_t tid);
extern spinlock thread_table_lock [[gnu::weak]];
} // namespace oblako::sched

namespace {

using namespace oblako;
using namespace oblako::posix;

constexpr uint64_t most_overruns = 0x7fffffff; // DELAYTIMER_MAX

// What the application passes; Linux's is longer, musl passes this much.
struct signal_event {
  sigval value;
  int signo;
  int notify;
  int tid;
};

using table_hook =
    boost::intrusive::set_base_hook<boost::intrusive::tag<struct by_id>,
                                    boost::intrusive::link_mode<boost::intrusive::normal_link>>;

struct posix_timer : interval_timer, table_hook {
  posix_timer(clock_name clock, int id) : interval_timer(clock, &posix_timer::expired), id(id) {}

  static void expired(interval_timer& t, uint64_t times);
  static void taken(queued_signal& node, siginfo_t& info);
  void send();

  static void destroy(posix_timer& t);

  const int id;
  int notify = SIGEV_SIGNAL;
  int32_t tid = 0;
  // --- by the timer's callback and, under the signal lock, by whoever takes the signal
  queued_signal node;
  bool queued = false;
  bool deleted = false; // while queued: then whoever takes the signal frees the timer
  uint64_t overrun = 0;
  int last_overrun = 0;
};

posix_timer& timer_of(queued_signal& node) {
  return *owner_of(&node, &posix_timer::node);
}

void posix_timer::taken(queued_signal& node, siginfo_t& info) {
  posix_timer& t = timer_of(node);
  t.last_overrun = static_cast<int>(min_of(t.overrun, most_overruns));
  t.overrun = 0;
  t.queued = false;
  info.si_overrun = t.last_overrun;
  if (t.deleted)
    destroy(t);
}

void posix_timer::destroy(posix_timer& t) {
  t.~posix_timer();
  mem::release_sized(&t, sizeof(t));
  uncount_queued_signal();
}

void posix_timer::send() {
  const int signo = node.info.si_signo;
  if (notify == SIGEV_SIGNAL) {
    auto r = send_signal(target::process, nullptr, signo, &node.info, &node);
    if (!r.ok() || !*r)
      queued = false;
    return;
  }
  sched::thread* t = nullptr;
  if (!sched::find_thread) {
    auto r = send_signal(target::thread, &sched::main_thread(), signo, &node.info, &node);
    queued = r.ok() && *r;
    return;
  }
  sched::spinlock_guard guard(sched::thread_table_lock);
  t = sched::find_thread(tid);
  auto r = t ? send_signal(target::thread, t, signo, &node.info, &node) : result<bool>(false);
  if (!r.ok() || !*r)
    queued = false;
}

void posix_timer::expired(interval_timer& base, uint64_t times) {
  auto& t = static_cast<posix_timer&>(base);
  if (t.notify == SIGEV_NONE)
    return;
  bool pending;
  {
    sched::spinlock_guard guard(signal_lock);
    pending = t.queued;
    t.overrun += pending ? times : times - 1;
    t.queued = true;
  }
  if (!pending)
    t.send();
}

struct timer_id {
  using type = int;
  int operator()(const posix_timer& t) const { return t.id; }
};
using timer_table = boost::intrusive::set<posix_timer, boost::intrusive::base_hook<table_hook>,
                                          boost::intrusive::key_of_value<timer_id>,
                                          boost::intrusive::constant_time_size<false>>;

constinit sched::mutex timers_lock;
// Guarded by timers_lock.
late<timer_table> table;
bool table_made;
int next_id;

timer_table& timers() {
  if (!table_made) {
    table.construct();
    table_made = true;
  }
  return *table;
}

posix_timer* find(int id) {
  auto found = timers().find(id);
  return found == timers().end() ? nullptr : &*found;
}

// There are always more numbers than timers, so the search ends soon.
int free_id() {
  for (;;) {
    const int id = next_id;
    next_id = next_id == 0x7fffffff ? 0 : next_id + 1;
    if (!find(id))
      return id;
  }
}

result<void> check_event(const signal_event& e) {
  if (e.notify == SIGEV_NONE)
    return {};
  if ((e.notify != SIGEV_SIGNAL && e.notify != SIGEV_THREAD_ID) || !valid_signal(e.signo))
    return error::inval;
  if (e.notify == SIGEV_SIGNAL)
    return {};
  if (!sched::find_thread)
    return e.tid == sched::main_thread().tid ? result<void>() : result<void>(error::inval);
  sched::spinlock_guard guard(sched::thread_table_lock);
  return sched::find_thread(e.tid) ? result<void>() : result<void>(error::inval);
}

void set_event(posix_timer& t, const signal_event& e) {
  t.notify = e.notify;
  t.tid = e.tid;
  t.node.taken = &posix_timer::taken;
  t.node.info.si_signo = e.signo;
  t.node.info.si_code = SI_TIMER;
  t.node.info.si_timerid = t.id;
  t.node.info.si_value = e.value;
}

result<void> create(int clock_id, const signal_event* app_event, int* app_id) {
  clock_name clock = TRY(parse_clock(clock_id));
  if (clock.kind == clock_kind::thread_cpu && clock.tid == 0)
    clock.tid = sched::current().tid; // its callback runs in whatever thread is interrupted
  signal_event event{{}, SIGALRM, SIGEV_SIGNAL, 0};
  if (app_event)
    event = TRY(mem::read_app(app_event));
  TRY(check_event(event));
  sched::lock_guard guard(timers_lock);
  const int id = free_id();
  TRY(mem::write_app(app_id, id));
  if (!count_queued_signal())
    return error::again;
  auto made = mem::make<posix_timer>(clock, id);
  if (!made.ok()) {
    uncount_queued_signal();
    return error::again;
  }
  posix_timer& t = *made->release();
  if (!app_event)
    event.value.sival_int = id;
  set_event(t, event);
  timers().insert(t);
  return {};
}

itimerspec to_itimerspec(const interval_timer::setting& s) {
  return {to_timespec(s.interval), to_timespec(s.left)};
}

result<void> set_time(int id, int flags, const itimerspec* app_new, itimerspec* app_old) {
  const itimerspec wanted = TRY(mem::read_app(app_new));
  const uint64_t span = TRY(to_ns(wanted.it_value)), interval = TRY(to_ns(wanted.it_interval));
  itimerspec old;
  {
    sched::lock_guard guard(timers_lock);
    posix_timer* t = find(id);
    if (!t)
      return error::inval;
    old = to_itimerspec(TRY(t->get()));
    TRY(flags & TIMER_ABSTIME ? t->set_at(span, interval) : t->set_after(span, interval));
  }
  return app_old ? mem::write_app(app_old, old) : result<void>();
}

result<void> get_time(int id, itimerspec* app) {
  itimerspec present;
  {
    sched::lock_guard guard(timers_lock);
    posix_timer* t = find(id);
    if (!t)
      return error::inval;
    present = to_itimerspec(TRY(t->get()));
  }
  return mem::write_app(app, present);
}

result<int> get_overrun(int id) {
  sched::lock_guard guard(timers_lock);
  posix_timer* t = find(id);
  if (!t)
    return error::inval;
  return t->last_overrun;
}

result<void> remove(int id) {
  sched::lock_guard guard(timers_lock);
  posix_timer* t = find(id);
  if (!t)
    return error::inval;
  timers().erase(timers().iterator_to(*t));
  t->cancel();
  bool queued;
  {
    sched::spinlock_guard signals(signal_lock);
    queued = t->queued;
    t->deleted = true;
  }
  if (!queued)
    posix_timer::destroy(*t);
  return {};
}

} // namespace

OBLAKO_SYSCALL(sys_timer_create, do_timer_create);
OBLAKO_SYSCALL(sys_timer_settime, do_timer_settime);
OBLAKO_SYSCALL(sys_timer_gettime, do_timer_gettime);
OBLAKO_SYSCALL(sys_timer_getoverrun, do_timer_getoverrun);
OBLAKO_SYSCALL(sys_timer_delete, do_timer_delete);

extern "C" {
long do_timer_create(int clock, const signal_event* event, int* id) {
  return to_syscall(create(clock, event, id));
}
long do_timer_settime(int id, int flags, const itimerspec* to, itimerspec* old) {
  return to_syscall(set_time(id, flags, to, old));
}
long do_timer_gettime(int id, itimerspec* to) {
  return to_syscall(get_time(id, to));
}
long do_timer_getoverrun(int id) {
  return to_syscall(get_overrun(id));
}
long do_timer_delete(int id) {
  return to_syscall(remove(id));
}
}
