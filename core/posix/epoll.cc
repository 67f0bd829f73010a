#include "core/posix/epoll.hh"
#include "core/net/poller.hh"
#include <fcntl.h>

namespace oblako::posix {

namespace {

using guard = sched::lock_guard<sched::mutex>;

constinit sched::mutex membership_lock;

constexpr uint32_t always_reported = EPOLLERR | EPOLLHUP;
// What epoll_ctl takes besides events.
constexpr uint32_t behaviour = EPOLLET | EPOLLONESHOT | EPOLLEXCLUSIVE | EPOLLWAKEUP;
// Linux's EP_MAX_NESTS: steps from the outermost epoll file to the innermost.
constexpr unsigned nesting_limit = 4;
uint64_t nesting_walk; // the last walk's number; guarded by membership_lock
// A set that always has something ready would never let the network run: it does every so often.
constexpr uint32_t waits_between_polls = 16;

constexpr char epoll_kind = 0;

} // namespace

// Drops all watchers of a file whose last descriptor is gone.
void epoll_target_closed(file& f);

// ------------------------------------------------------------- items and lists

epoll_item::epoll_item(epoll_file& e, file& f, int number)
    : observer(epoll_file::notified), owner(e), target(f), fd(number),
      network(f.needs_network() || epoll_file::is_epoll(f)) {
  closed = epoll_target_closed;
}

void epoll_list::push_back(epoll_item& i) {
  i.ready_next = nullptr;
  i.ready_previous = last;
  if (last)
    last->ready_next = &i;
  else
    __atomic_store_n(&first, &i, __ATOMIC_RELEASE); // read without the lock
  last = &i;
}

void epoll_list::remove(epoll_item& i) {
  if (i.ready_previous)
    i.ready_previous->ready_next = i.ready_next;
  else
    __atomic_store_n(&first, i.ready_next, __ATOMIC_RELEASE);
  if (i.ready_next)
    i.ready_next->ready_previous = i.ready_previous;
  else
    last = i.ready_previous;
}

epoll_item& epoll_list::pop_front() {
  epoll_item& i = *first;
  __atomic_store_n(&first, i.ready_next, __ATOMIC_RELEASE);
  (i.ready_next ? i.ready_next->ready_previous : last) = nullptr;
  return i;
}

void epoll_list::append(epoll_list& o) {
  if (!o.first)
    return;
  o.first->ready_previous = last;
  if (last)
    last->ready_next = o.first;
  else
    __atomic_store_n(&first, o.first, __ATOMIC_RELEASE);
  last = o.last;
  o.first = o.last = nullptr;
}

// ------------------------------------------------------------- becoming ready

// Context: any, under the target's readiness queue.
bool epoll_file::notified(sched::observer& o, uint32_t events) {
  auto& i = static_cast<epoll_item&>(o);
  const uint32_t wanted = __atomic_load_n(&i.events, __ATOMIC_RELAXED);
  if (!(events & wanted))
    return false;
  i.owner.enqueue(i);
  return wanted & EPOLLEXCLUSIVE;
}

// Wakes a waiter only when the list was empty: whoever collects wakes the next if it leaves
// anything.
void epoll_file::enqueue(epoll_item& i) {
  if (__atomic_exchange_n(&i.queued, 1, __ATOMIC_SEQ_CST))
    return;
  bool was_empty;
  {
    sched::spinlock_guard g(ready_lock_);
    was_empty = !ready_.first;
    ready_.push_back(i);
  }
  if (was_empty)
    waiters_.wake_one();
  readiness().wake_all(EPOLLIN | EPOLLRDNORM);
}

uint32_t epoll_file::ready_events(epoll_item& i) {
  return i.events ? i.target.poll_events() & i.events & ~behaviour : 0;
}

// Queues an item that is ready already. lock_ held.
void epoll_file::look_at(epoll_item& i) {
  if (ready_events(i))
    enqueue(i);
}

// ------------------------------------------------------------- membership

epoll_item* epoll_file::find(int fd, file& target) {
  auto it = items_.find(epoll_item::key{fd, &target});
  return it == items_.end() ? nullptr : &*it;
}

// How many epoll files lie below this one, at most, one in the other. Each is looked at once,
// however many ways lead there; those below the file that asks are marked with this walk's number.
// The recursion ends because nothing nested deeper has been let in. membership_lock held.
unsigned epoll_file::depth_below() {
  if (walk_ == nesting_walk)
    return depth_;
  walk_ = nesting_walk;
  depth_ = 0;
  for (epoll_item& i : items_)
    if (is_epoll(i.target))
      depth_ = max_of(depth_, 1 + static_cast<epoll_file&>(i.target).depth_below());
  return depth_;
}

// The same for those that watch this one, directly or not.
unsigned epoll_file::depth_above() {
  if (walk_ == nesting_walk)
    return depth_;
  walk_ = nesting_walk;
  depth_ = 0;
  for (close_watcher* w = watchers(); w; w = w->next)
    depth_ = max_of(depth_, 1 + static_cast<epoll_item&>(*w).owner.depth_above());
  return depth_;
}

// Whether this may watch `target`. Notifications and questions go from one to the next on the
// kernel's stack. Errors: loop (a circle, or nested too deep). membership_lock held.
result<void> epoll_file::check_nesting(epoll_file& target) {
  ++nesting_walk;
  const unsigned below = target.depth_below();
  if (walk_ == nesting_walk) // it lies below the target
    return error::loop;
  ++nesting_walk;
  return depth_above() + 1 + below > nesting_limit ? error::loop : result<void>();
}

result<void> epoll_file::add(int fd, file& target, const epoll_event& event) {
  const uint32_t events = event.events;
  if (&target == this)
    return error::inval;
  if ((events & EPOLLEXCLUSIVE) && (is_epoll(target) || (events & EPOLLONESHOT)))
    return error::inval;
  if (target.node()) // files and directories: always ready, nothing to wait for
    return error::perm;
  auto made = TRY(mem::make<epoll_item>(*this, target, fd));
  guard membership(membership_lock);
  if (is_epoll(target))
    TRY(check_nesting(static_cast<epoll_file&>(target)));
  guard g(lock_);
  if (find(fd, target))
    return error::exist;
  epoll_item& i = *made.release();
  i.events = events | always_reported;
  i.data = event.data.u64;
  items_.insert(i);
  network_items_ += i.network;
  i.close_watcher::next = target.watchers();
  i.link = &target.watchers();
  if (close_watcher* next = i.close_watcher::next)
    next->link = &i.close_watcher::next;
  // The builtin converts bits, not classes: the base is not at the item's start.
  __atomic_store_n(&target.watchers(), static_cast<close_watcher*>(&i), __ATOMIC_SEQ_CST);
  if (!target.has_descriptors()) { // closed meanwhile, perhaps before it could see the watcher
    discard(i);
    return error::badf;
  }
  target.readiness().add(i);
  look_at(i);
  return {};
}

result<void> epoll_file::modify(int fd, file& target, const epoll_event& event) {
  guard g(lock_);
  epoll_item* i = find(fd, target);
  if (!i)
    return error::noent;
  if ((i->events | event.events) & EPOLLEXCLUSIVE)
    return error::inval;
  i->data = event.data.u64;
  // Before looking: notified() reads it.
  __atomic_store_n(&i->events, event.events | always_reported, __ATOMIC_SEQ_CST);
  look_at(*i);
  return {};
}

result<void> epoll_file::remove(int fd, file& target) {
  guard membership(membership_lock);
  guard g(lock_);
  epoll_item* i = find(fd, target);
  if (!i)
    return error::noent;
  discard(*i);
  return {};
}

// Takes an item out of everything and frees it. membership_lock and lock_ held.
void epoll_file::discard(epoll_item& i) {
  i.target.readiness().remove(i);
  __atomic_store_n(i.link, i.close_watcher::next, __ATOMIC_RELAXED);
  if (close_watcher* next = i.close_watcher::next)
    next->link = i.link;
  if (i.queued) {
    sched::spinlock_guard g(ready_lock_);
    ready_.remove(i);
  }
  network_items_ -= i.network;
  items_.erase(items_.iterator_to(i));
  i.~epoll_item();
  mem::release_sized(&i, sizeof i);
}

void epoll_target_closed(file& f) {
  guard membership(membership_lock);
  while (close_watcher* w = f.watchers()) {
    auto& i = static_cast<epoll_item&>(*w);
    epoll_file& owner = i.owner;
    guard g(owner.lock_);
    owner.discard(i);
  }
}

epoll_file::~epoll_file() {
  guard membership(membership_lock);
  guard g(lock_);
  while (!items_.empty())
    discard(*items_.begin());
}

const void* epoll_file::kind() const {
  return &epoll_kind;
}
bool epoll_file::is_epoll(const file& f) {
  return f.kind() == &epoll_kind;
}

// ------------------------------------------------------------- waiting

// Puts what a harvest has not looked at in front of the list, and what stays ready at its end; and
// wakes a waiter if anything is there then, who may have looked while the list was taken.
void epoll_file::put_back(epoll_list& untouched, epoll_list& again) {
  if (untouched.first || again.first) {
    sched::spinlock_guard g(ready_lock_);
    untouched.append(ready_);
    untouched.append(again);
    ready_.append(untouched);
  }
  if (anything_queued())
    waiters_.wake_one();
}

// Events on their way to the application: copied out many at a time, and only what arrived counts
// as delivered.
class epoll_file::delivery : oblako::noncopyable {
public:
  delivery(epoll_event* app_events, size_t room) : app_events_(app_events), room_(room) {}

  bool full() const { return delivered_ + held_ == room_; }
  size_t delivered() const { return delivered_; }

  void add(epoll_item& i, uint32_t events) {
    events_[held_].events = events;
    events_[held_].data.u64 = i.data;
    items_[held_++] = &i;
  }
  bool must_flush() const { return held_ == batch; }
  // Level-triggered items go to `again`. Errors: fault, if not all could be copied; those that
  // could not are queued as before.
  result<void> flush(epoll_list& again) {
    if (!held_)
      return {};
    const size_t count = std::exchange(held_, 0);
    auto copied = mem::copy_to_app(app_events_ + delivered_, events_, count * sizeof events_[0]);
    const size_t arrived = copied.ok() ? count : arrived_of(count);
    for (size_t n = 0; n < count; ++n) {
      epoll_item& i = *items_[n];
      if (n < arrived && (i.events & EPOLLONESHOT))
        __atomic_store_n(&i.events, 0, __ATOMIC_SEQ_CST);
      else if ((n >= arrived || !(i.events & EPOLLET)) &&
               !__atomic_exchange_n(&i.queued, 1, __ATOMIC_SEQ_CST))
        again.push_back(i);
    }
    delivered_ += arrived;
    return copied;
  }

private:
  // After a fault: how many events of the batch there is memory for.
  [[gnu::noinline]] size_t arrived_of(size_t count) {
    auto to = mem::io_buffers::app(app_events_ + delivered_, count * sizeof events_[0]);
    auto put = to.ok() ? to->put(events_, count * sizeof events_[0]) : result<size_t>(to.code());
    return put.ok() ? *put / sizeof events_[0] : 0;
  }

  static constexpr size_t batch = 16;
  epoll_event* const app_events_;
  const size_t room_;
  size_t delivered_ = 0, held_ = 0;
  epoll_event events_[batch];
  epoll_item* items_[batch];
};

result<size_t> epoll_file::collect(epoll_event* app_events, size_t room) {
  // What another thread has taken and does not use up it puts back, and wakes a waiter.
  if (!anything_queued())
    return size_t{0};
  guard g(lock_);
  epoll_list taken, again;
  {
    sched::spinlock_guard r(ready_lock_);
    taken.append(ready_);
  }
  delivery out(app_events, room);
  result<void> flushed;
  while (taken.first && !out.full() && flushed.ok()) {
    epoll_item& i = taken.pop_front();
    // From here on a notification puts it on the list again; what happened before is seen now.
    __atomic_store_n(&i.queued, 0, __ATOMIC_SEQ_CST);
    if (const uint32_t events = ready_events(i)) {
      out.add(i, events);
      if (out.must_flush())
        flushed = out.flush(again);
    } else {
      sched::yield_if_needed(); // there may be many that were ready and are no more
    }
  }
  if (flushed.ok())
    flushed = out.flush(again);
  put_back(taken, again);
  return !flushed.ok() && !out.delivered() ? result<size_t>(flushed.code()) : out.delivered();
}

void epoll_file::note_busy() {
  if (++busy_waits_ % waits_between_polls == 0 && needs_network() && net::present())
    net::poll();
}

uint32_t epoll_file::poll_events() {
  guard g(lock_);
  epoll_list taken, again;
  {
    sched::spinlock_guard r(ready_lock_);
    taken.append(ready_);
  }
  while (taken.first && !again.first) {
    epoll_item& i = taken.pop_front();
    __atomic_store_n(&i.queued, 0, __ATOMIC_SEQ_CST);
    if (ready_events(i) && !__atomic_exchange_n(&i.queued, 1, __ATOMIC_SEQ_CST))
      again.push_back(i);
  }
  put_back(taken, again);
  return anything_queued() ? EPOLLIN | EPOLLRDNORM : 0;
}

result<size_t> epoll_file::wait(epoll_event* app_events, size_t room, uint64_t deadline_ns) {
  sched::thread_waiter waiter;
  waiters_.add(waiter);
  size_t count = 0;
  error problem = error::none;
  while (!count && problem == error::none) {
    auto slept = anything_queued() ? result<void>()
                 : needs_network() ? net::sleep_or_poll(waiter, deadline_ns, true)
                                   : waiter.sleep(deadline_ns, true);
    // What came in the same moment as a signal or the deadline still counts.
    auto collected = collect(app_events, room);
    if (collected.ok())
      count = *collected;
    problem = collected.ok() ? slept.code() : collected.code();
  }
  waiters_.remove(waiter);
  if (waiter.notified())
    waiters_.wake_one(); // meant for whoever still waits
  if (count || problem == error::timedout)
    return count;
  return problem == error::restart ? error::intr : problem;
}

} // namespace oblako::posix
