// One-shot timers on the per-CPU deadline queue; the hardware timer is armed for the nearest only.
#pragma once

#include "core/base/types.hh"
#include <boost/intrusive/set.hpp>
#include <stdint.h>

namespace oblako::time {

// Lives in its owner (never on an application stack, never in application memory).
class timer : noncopyable, public boost::intrusive::set_base_hook<> {
public:
  // The callback runs in interrupt context (see arch/x64/interrupts.hh) and may re-arm the timer.
  using callback = void (*)(timer&);
  explicit timer(callback fn) : fn_(fn) {}
  ~timer() { cancel(); }

  // Units: monotonic nanoseconds. Replaces an earlier deadline. Context: any.
  void arm(uint64_t deadline_ns);
  // After it returns the callback is not running and will not run. Returns true if it was armed.
  bool cancel();
  bool armed() const { return is_linked(); }
  uint64_t deadline() const { return deadline_; }

private:
  friend class timer_queue;
  callback fn_;
  uint64_t deadline_ = 0;
};

} // namespace oblako::time
