// Many timers, each armed, moved and disarmed in constant time, at a grain of one tick.
//
// Four circles of 64 slots; a slot of circle n is 64^n ticks wide. A timer lies in the finest
// circle that reaches its time. When the wheel comes to a slot of a coarser circle, the slot's
// timers move to finer ones. A bit for each slot that holds timers makes finding the next a few
// instructions, however long it is until then. What lies beyond the last circle (4.6 hours of
// milliseconds) fires early; so the owner of a timer has to look whether its time has come, and arm
// it again.
//
// Invariants: every armed timer's due lies after now_ and at most `reach` after it; it is in the
// slot (due >> 6n) % 64 of the lowest circle n where (due >> 6n) - (now_ >> 6n) < 64.
// Times are 32 bits and wrap around. Not locked.
#pragma once

#include "core/base/types.hh"
#include "core/net/lwip/wheel_timer.h"

namespace oblako::net {

class timer_wheel : noncopyable {
public:
  static constexpr uint32_t reach = 63u << 18;

  void start(uint32_t now) { now_ = now; }

  // A time that has passed counts as the next tick.
  void arm(wheel_timer& t, uint32_t due) {
    disarm(t);
    const uint32_t ahead = due - now_;
    if (static_cast<int32_t>(ahead) <= 0)
      due = now_ + 1;
    else if (ahead > reach)
      due = now_ + reach;
    t.due = due;
    insert(t);
  }

  void disarm(wheel_timer& t) {
    if (!t.link)
      return;
    wheel_timer** const link = t.link;
    *link = t.next;
    if (t.next)
      t.next->link = link;
    t.link = nullptr;
    // The last one of a slot: the link is the slot itself.
    if (!*link && link >= &slots_[0][0] && link < &slots_[0][0] + circles * slots) {
      const auto number = static_cast<unsigned>(link - &slots_[0][0]);
      used_[number / slots] &= ~(uint64_t{1} << number % slots);
    }
  }

  bool empty() const { return (used_[0] | used_[1] | used_[2] | used_[3]) == 0; }

  // When advance() has something to do next: no later than the first timer is due. Not if empty.
  uint32_t next() const {
    uint32_t best = reach + slots;
    for (unsigned n = 0; n < circles; ++n) {
      if (used_[n] == 0)
        continue;
      const uint32_t position = now_ >> 6 * n;
      const unsigned first = (position + 1) % slots;
      const uint64_t turned = used_[n] >> first | (first ? used_[n] << (slots - first) : 0);
      const uint32_t slot = position + 1 + static_cast<uint32_t>(__builtin_ctzll(turned));
      best = min_of(best, (slot << 6 * n) - now_);
    }
    return now_ + best;
  }

  // Moves on to `now` and calls fire(timer) for each timer that is due by then, disarmed, in order
  // of their times. The call may arm and disarm any timer. True if there was one.
  template <class fire_function>
  bool advance(uint32_t now, fire_function&& fire) {
    bool fired = false;
    while (!empty()) {
      const uint32_t at = next();
      if (static_cast<int32_t>(at - now) > 0)
        break;
      now_ = at;
      for (unsigned n = circles; n-- != 0;) {
        if (n != 0 && (now_ & ((1u << 6 * n) - 1)) != 0)
          continue;
        wheel_timer*& slot = slots_[n][(now_ >> 6 * n) % slots];
        while (wheel_timer* t = slot) {
          disarm(*t);
          if (t->due == now_) {
            fire(*t);
            fired = true;
          } else {
            insert(*t);
          }
        }
      }
    }
    if (static_cast<int32_t>(now - now_) > 0)
      now_ = now;
    return fired;
  }

private:
  static constexpr unsigned circles = 4, slots = 64;

  void insert(wheel_timer& t) {
    unsigned n = 0;
    while ((((t.due >> 6 * n) - (now_ >> 6 * n)) & (~0u >> 6 * n)) >= slots)
      ++n;
    const unsigned slot = (t.due >> 6 * n) % slots;
    wheel_timer*& head = slots_[n][slot];
    t.next = head;
    if (head)
      head->link = &t.next;
    t.link = &head;
    head = &t;
    used_[n] |= uint64_t{1} << slot;
  }

  uint32_t now_ = 0;
  uint64_t used_[circles] = {};
  wheel_timer* slots_[circles][slots] = {};
};

} // namespace oblako::net
