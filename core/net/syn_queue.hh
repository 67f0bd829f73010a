// Connections that have asked to be opened and not yet confirmed that they got our answer: one
// small record each, in a hash table of bounded size, each with a timer after which the answer is
// sent again. A control block and a socket come into being only when the other side has shown that
// it is there. Beyond the bound there are SYN cookies (syn_cookie.hh).
//
// A record whose connection was confirmed while its listener had no room waits in line for it
// (backlog.hh), and no more answers are sent.
//
// No listener takes the records of the others: beside a bound of its own, it may have as many as
// are free (Choudhury and Hahne's dynamic thresholds, 1998). A flood of one port leaves half of
// them for the rest, floods of two a third.
//
// Invariants: a record is in the bucket of its flow and its timer is armed; count() never exceeds
// the limit. It is in one of its listener's queues and counts there; removing it takes it out. Not
// locked.
#pragma once

#include "core/net/backlog.hh"
#include "core/net/syn_cookie.hh"
#include "core/net/timer_wheel.hh"
#include <stddef.h>

namespace oblako::net {

struct half_open {
  wheel_timer timer; // first: the wheel gives it back
  half_open* in_bucket;
  backlog_place place;
  flow key;
  uint32_t peer_isn, our_isn;
  uint32_t answered; // when the first answer went, milliseconds of TCP's clock
  syn_options options;
  uint8_t resent;
  uint8_t time_to_live, type_of_service;
  uint16_t window; // as it stood in the header of the confirmation; if it waits
};
static_assert(sizeof(half_open) <= 128);

inline half_open& record_at(backlog_place& p) {
  return *reinterpret_cast<half_open*>(reinterpret_cast<char*>(&p) - offsetof(half_open, place));
}

class syn_queue : noncopyable {
public:
  static constexpr uint32_t first_patience_ms = 1000; // doubles each time
  static constexpr uint8_t most_answers = 5;          // given up 63 seconds after the first

  void start(uint32_t now, unsigned limit) {
    wheel_.start(now);
    limit_ = limit;
  }
  // For the listener with these queues, which may have so many. nullptr: full, or no memory.
  half_open* add(const flow& f, uint64_t hash, uint32_t now, backlog& at, unsigned most);
  half_open* find(const flow& f, uint64_t hash) const;
  void remove(half_open& h, uint64_t hash);
  unsigned count() const { return count_; }

  // It waits from now on, and is given up after as long as an answer would be.
  void be_patient(half_open& h, uint32_t now) {
    wheel_.arm(h.timer, now + (first_patience_ms << most_answers));
  }

  // Calls answer(half_open&) for each that has waited long enough, and drops those that were
  // answered too often; hash_function(flow) as given to add().
  template <class answer_function, class hash_function>
  bool run(uint32_t now, answer_function&& answer, hash_function&& hash) {
    return wheel_.advance(now, [&](wheel_timer& t) {
      auto& h = reinterpret_cast<half_open&>(t);
      if (is_waiting(h.place) || h.resent >= most_answers)
        return remove(h, hash(h.key));
      ++h.resent;
      wheel_.arm(t, now + (first_patience_ms << h.resent));
      answer(h);
    });
  }
  // False: none.
  bool next(uint32_t& when) const {
    if (wheel_.empty())
      return false;
    when = wheel_.next();
    return true;
  }

private:
  static constexpr unsigned bucket_count = 256;

  timer_wheel wheel_;
  half_open* buckets_[bucket_count] = {};
  unsigned count_ = 0, limit_ = 0; // all zero: no byte of the image
};

} // namespace oblako::net
