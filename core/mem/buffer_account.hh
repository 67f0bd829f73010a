// The account of buffers: all memory that the kernel holds because somebody sends, connects or
// waits. That is what a peer, or a program that goes on writing, can make grow, so it is counted as
// a whole and has one limit that depends on memory, as Linux has it with tcp_mem.
//
// What counts, and where
//   - Everything that allocate_buffer() gives (heap.hh), by whole pages: TCP segments, packet
//     buffers and control blocks with the free lists in front of them, send buffers, handshakes'
//     records, sockets and the descriptors under way between them, datagrams that wait, pipes,
//     epoll registrations. The heap keeps pages of their own for them, so what is charged is what
//     is gone, slack and fragmentation included, and what is freed is discharged with its page: no
//     caller can forget it.
//   - A device's receive buffers while the stack holds them (core/net/interface.cc).
//   Not counted: what a device's rings hold in any case, which has a limit of its own.
//
// Rules
//   1. held() is exact: it changes with the page, under the heap's lock, or with the frame that is
//      lent. It is one atomic number, for all CPUs; the free lists make changes rare.
//   2. How short memory is (shortage()) follows from held() and the free page frames of that
//   moment.
//      There is no state that could be out of date, and nobody has to be told.
//   3. No one queue may hold more than a quarter of what is left until the pressure mark (share();
//      dynamic thresholds: Choudhury and Hahne, 1998), or of the page frames that are free beyond
//      the reserve, whichever is less. So a single one gets nearly all it can use, many get
//      what is fair, and bulk data alone never comes to the mark.
//   4. A least share is everybody's, however short memory is: a segment or a piece each way. Who
//      takes what he is sent, and is read, is served throughout. What the least shares take beyond
//      the limit is won back from those who have made no progress for longest
//      (core/net/memory_pressure.hh).
//   5. The application's memory is not taken from below it: buffers stop growing while more page
//      frames are free than the application needs to go on (frame_counts.reserve and a part of
//      memory beyond), least shares included, and a page fault that finds none has buffers given up
//      before it fails (reclaim_buffers()).
#pragma once

#include "core/base/types.hh"
#include "core/mem/frames.hh"

namespace oblako::mem {

class buffer_account {
public:
  static constexpr unsigned most_short = 6;

  // Units: bytes. Context: any.
  void charge(size_t bytes) { __atomic_fetch_add(&held_, bytes, __ATOMIC_RELAXED); }
  void discharge(size_t bytes) { __atomic_fetch_sub(&held_, bytes, __ATOMIC_RELAXED); }
  uint64_t held() const { return __atomic_load_n(&held_, __ATOMIC_RELAXED); }

  // An eighth of memory: from here on everybody has the least share.
  uint64_t pressure() const { return pressure_; }
  // A quarter: nothing is taken but least shares.
  uint64_t limit() const { return 2 * pressure_; }
  // Page frames that must be free, or memory is short.
  uint64_t frames_wanted() const { return frames_wanted_; }

  // For each question in the middle of transfer.
  bool is_short() const {
    return held() >= pressure_ ||
           __atomic_load_n(&frame_counts.free, __ATOMIC_RELAXED) < frames_wanted_;
  }
  // How short memory is: 0, not at all, up to most_short, when the limit is reached or the
  // application's next page is one of the last.
  unsigned shortage() const;
  // What one queue may hold, at least `least`.
  size_t share(size_t least) const;

  // Whether the heap may take another page for buffers: least shares end there too. A little of the
  // reserve is theirs, so that a machine that is full of the application still answers.
  bool may_take_page() const {
    return __atomic_load_n(&frame_counts.free, __ATOMIC_RELAXED) > frames_kept_ ||
           held() < pressure_ / 4;
  }

  // Boot only: how much memory there is.
  void set_memory(uint64_t pages);

private:
  uint64_t held_ = 0; // atomic
  uint64_t pressure_ = 0, frames_wanted_ = 0, frames_kept_ = 0;
};

extern buffer_account buffers;

// Gives up buffers that can be done without, for an application that needs a page: there in an
// image with a network. Context: thread; may block; no lock of mem's is held.
enum class reclaimed : uint8_t {
  nothing,
  some,
  not_now, // the thread is in the middle of what the buffers are for
};
[[gnu::weak]] reclaimed reclaim_buffers();

} // namespace oblako::mem
