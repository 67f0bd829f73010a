// Connections that have asked to be opened and not yet confirmed that they got our answer: one
// small record each, in a hash table of bounded size, each with a timer after which the answer is
// sent again. A control block and a socket come into being only when the other side has shown that
// it is there. Beyond the bound there are SYN cookies (syn_cookie.hh).
//
// A record whose connection was confirmed while its listener had no room waits in line for it, and
// no more answers are sent.
//
// Invariants: a record is in the bucket of its flow and its timer is armed; count() never exceeds
// the limit. Those that wait are in line in the order in which they were confirmed, and removing a
// record takes it out. Not locked.
#pragma once

#include "core/net/syn_cookie.hh"
#include "core/net/timer_wheel.hh"

namespace oblako::net {

struct half_open {
  wheel_timer timer; // first: the wheel gives it back
  half_open* in_bucket;
  half_open *waiting_before, *waiting_behind;
  flow key;
  uint32_t peer_isn, our_isn;
  uint32_t answered; // when the first answer went, milliseconds of TCP's clock
  syn_options options;
  uint8_t resent;
  uint8_t time_to_live, type_of_service;
  bool waits;
  uint16_t window; // as it stood in the header of the confirmation; if it waits
};
static_assert(sizeof(half_open) <= 112);

class syn_queue : noncopyable {
public:
  static constexpr uint32_t first_patience_ms = 1000; // doubles each time
  static constexpr uint8_t most_answers = 5;          // given up 63 seconds after the first

  void start(uint32_t now, unsigned limit) {
    wheel_.start(now);
    limit_ = limit;
  }
  // nullptr: full, or no memory.
  half_open* add(const flow& f, uint64_t hash, uint32_t now);
  half_open* find(const flow& f, uint64_t hash) const;
  void remove(half_open& h, uint64_t hash);
  unsigned count() const { return count_; }

  // In line, at its end. It is given up after as long as an answer would be.
  void wait(half_open& h, uint32_t now);
  // Out of line: its timer goes on.
  void wait_no_longer(half_open& h);
  half_open* first_waiting() const { return first_waiting_; }

  // Calls answer(half_open&) for each that has waited long enough, and drops those that were
  // answered too often; hash_function(flow) as given to add().
  template <class answer_function, class hash_function>
  bool run(uint32_t now, answer_function&& answer, hash_function&& hash) {
    return wheel_.advance(now, [&](wheel_timer& t) {
      auto& h = reinterpret_cast<half_open&>(t);
      if (h.waits || h.resent >= most_answers)
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
  half_open *first_waiting_ = nullptr, *last_waiting_ = nullptr;
  unsigned count_ = 0, limit_ = 0; // all zero: no byte of the image
};

} // namespace oblako::net
