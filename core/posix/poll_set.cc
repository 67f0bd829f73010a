#include "core/posix/poll_set.hh"
#include "core/net/poller.hh"
#include "core/posix/time_arguments.hh"

namespace oblako::posix {

// Nobody else may have to be woken for the same event, so this is never an exclusive wake-up.
bool poll_set::entry::notified(sched::observer& o, uint32_t events) {
  auto& e = static_cast<entry&>(o);
  if (events & e.wanted)
    sched::thread_waiter::wake(*e.waiter, events);
  return false;
}

poll_set::~poll_set() {
  if (entries_ == inline_)
    return;
  for (size_t i = 0; i < capacity_; ++i)
    entries_[i].~entry();
  mem::release(entries_);
}

result<void> poll_set::reserve(size_t count) {
  if (count <= inline_count)
    return {};
  auto* memory = static_cast<entry*>(mem::allocate(count * sizeof(entry)));
  if (!memory)
    return error::nomem;
  for (size_t i = 0; i < count; ++i)
    ::new (static_cast<void*>(memory + i)) entry;
  entries_ = memory;
  capacity_ = count;
  return {};
}

bool poll_set::add(int fd, uint32_t wanted) {
  entry& e = entries_[count_++];
  auto f = get_file(fd);
  if (!f.ok())
    return false;
  e.wanted = wanted;
  e.target = f.take();
  network_ |= e.target->needs_network();
  return true;
}

size_t poll_set::look() {
  size_t ready = 0;
  for (size_t i = 0; i < count_; ++i) {
    entry& e = entries_[i];
    if (!e.target)
      continue;
    e.ready = e.target->poll_events() & e.wanted;
    ready += e.ready != 0;
  }
  return ready;
}

result<size_t> poll_set::sleep(uint64_t deadline_ns) {
  sched::thread_waiter waiter;
  for (size_t i = 0; i < count_; ++i) {
    if (!entries_[i].target)
      continue;
    entries_[i].waiter = &waiter;
    entries_[i].target->readiness().add(entries_[i]);
  }
  size_t ready;
  result<void> slept;
  while (!(ready = look()) && slept.ok())
    slept =
        network_ ? net::sleep_or_poll(waiter, deadline_ns, true) : waiter.sleep(deadline_ns, true);
  for (size_t i = 0; i < count_; ++i)
    if (entries_[i].target)
      entries_[i].target->readiness().remove(entries_[i]);
  if (ready || slept.code() == error::timedout)
    return ready;
  return slept.code() == error::restart ? error::intr : slept.code();
}

result<size_t> poll_set::wait(uint64_t timeout_ns) {
  if (const size_t ready = look())
    return ready;
  if (network_ && net::present() && net::poll())
    if (const size_t ready = look())
      return ready;
  if (timeout_ns == 0)
    return size_t{0};
  return sleep(timeout_ns == time::no_deadline ? time::no_deadline : deadline_after(timeout_ns));
}

} // namespace oblako::posix
