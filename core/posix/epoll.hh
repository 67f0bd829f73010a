// epoll: a set of watched files and the list of those that may be ready. Waiting costs what is
// ready, not what is watched.
//
// An item (one watched descriptor) observes its file's readiness queue. A notification puts it on
// the ready list and wakes one waiting thread. Whoever waits takes the list, asks each file what is
// really ready, and puts level-triggered items that were back at the end.
//
// Locks, outermost first:
//   membership_lock (one, sleeping)  which items exist, and the files' lists of watchers
//   epoll_file::lock_ (sleeping)     the items of one epoll file; held while files are asked.
//                                    Nested epoll files lock inwards; cycles are refused.
//   a file's readiness queue         held while notify() runs
//   epoll_file::ready_lock_ (spin)   the ready list
// An item is freed with membership_lock and lock_ held, after its observer was removed.
#pragma once

#include "core/posix/file.hh"
#include <boost/intrusive/set.hpp>
#include <sys/epoll.h>

namespace oblako::posix {

class epoll_file;

struct epoll_item final
    : sched::observer,
      close_watcher,
      boost::intrusive::set_base_hook<boost::intrusive::link_mode<boost::intrusive::normal_link>> {
  using counts_as_buffer = void;
  epoll_item(epoll_file& e, file& f, int number);

  epoll_file& owner;
  file& target; // not counted: the item goes when the file's last descriptor does
  const int fd;
  const bool network;  // fed by the network, or an epoll file that may be
  uint32_t events = 0; // wanted ones and behaviour bits; 0 after a one-shot was delivered
  uint64_t data = 0;
  uint32_t queued = 0; // on the ready list, or about to be looked at by a thread that took it
  epoll_item* ready_next = nullptr; // guarded by ready_lock_ while on the list
  epoll_item* ready_previous = nullptr;

  struct key {
    int fd;
    const file* target;
    bool operator<(const key& o) const { return fd != o.fd ? fd < o.fd : target < o.target; }
  };
};

// A doubly linked list of items.
struct epoll_list {
  epoll_item* first = nullptr;
  epoll_item* last = nullptr;

  void push_back(epoll_item& i);
  void remove(epoll_item& i);
  epoll_item& pop_front();
  void append(epoll_list& o); // o is empty afterwards
};

class epoll_file final : public file {
public:
  using counts_as_buffer = void;
  explicit epoll_file(uint32_t flags) : file(flags) {}
  ~epoll_file() override;

  // epoll_ctl. Errors: exist, noent, perm (a file that is always ready), loop, inval, nomem, badf.
  result<void> add(int fd, file& target, const epoll_event& event);
  result<void> modify(int fd, file& target, const epoll_event& event);
  result<void> remove(int fd, file& target);

  // Delivers up to `room` events into the application's array; blocks until the deadline if there
  // are none. Errors: intr, canceled, fault.
  result<size_t> wait(epoll_event* app_events, size_t room, uint64_t deadline_ns);
  // The same without blocking. Errors: fault.
  result<size_t> collect(epoll_event* app_events, size_t room);

  // A wait found events without looking at the network.
  void note_busy();

  uint32_t poll_events() override;
  bool needs_network() const override {
    return __atomic_load_n(&network_items_, __ATOMIC_RELAXED) != 0;
  }
  const void* kind() const override;
  static bool is_epoll(const file& f);

private:
  friend struct epoll_item;
  friend void epoll_target_closed(file& f);

  struct key_of {
    using type = epoll_item::key;
    type operator()(const epoll_item& i) const { return {i.fd, &i.target}; }
  };
  using item_set = boost::intrusive::set<epoll_item, boost::intrusive::key_of_value<key_of>,
                                         boost::intrusive::constant_time_size<false>>;

  class delivery;
  static bool notified(sched::observer& o, uint32_t events);
  static uint32_t ready_events(epoll_item& i);
  bool anything_queued() const { return __atomic_load_n(&ready_.first, __ATOMIC_SEQ_CST); }
  void enqueue(epoll_item& i);
  void look_at(epoll_item& i);
  epoll_item* find(int fd, file& target);
  void discard(epoll_item& i);
  unsigned depth_below();
  unsigned depth_above();
  result<void> check_nesting(epoll_file& target);
  void put_back(epoll_list& untouched, epoll_list& again);

  sched::mutex lock_;
  item_set items_;             // guarded by lock_
  uint32_t network_items_ = 0; // changed under lock_
  uint32_t busy_waits_ = 0;    // waits in a row that found events at once; a hint
  // How deep it is nested, as the walk of that number found. Guarded by membership_lock.
  uint64_t walk_ = 0;
  unsigned depth_ = 0;

  sched::spinlock ready_lock_{sched::lock_rank::ready_list};
  epoll_list ready_;          // guarded by ready_lock_
  sched::wait_queue waiters_; // threads in wait(), one woken per item
};

} // namespace oblako::posix
