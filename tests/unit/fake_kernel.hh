// What the portable parts of the kernel stand on, for unit tests of files: memory from the host's
// heap (so that ASan sees every object), a clock that moves when it is told, one thread that
// never has to wait. Include from one file of a test program only.
#pragma once

#include "arch/x64/app_access.hh"
#include "arch/x64/percpu.hh"
#include "core/log/log.hh"
#include "core/mem/buffer_account.hh"
#include "core/mem/frames.hh"
#include "core/mem/heap.hh"
#include "core/sched/thread.hh"
#include "core/time/clock.hh"
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

namespace oblako::test {

inline size_t allocations_left = ~size_t{0};   // the next allocation after these fails
inline size_t failing_allocation = ~size_t{0}; // the one after so many fails, and only that one
inline std::map<void*, size_t> live;           // what is allocated from the kernel heap
inline size_t live_bytes;                      // of these
inline std::map<void*, size_t> charged;        // what of it the account of buffers has
inline size_t live_frames;
inline size_t frame_limit = 1u << 20;
inline uint64_t clock_ns = 1'700'000'000ull * time::ns_per_s;

inline bool may_allocate() {
  if (failing_allocation != ~size_t{0} && failing_allocation-- == 0)
    return false;
  if (allocations_left == 0)
    return false;
  if (allocations_left != ~size_t{0})
    --allocations_left;
  return true;
}

// A current thread that is none: sleeping mutexes compare its address only.
inline void become_thread() {
  static char nobody[1];
  arch::host_cpu.current = reinterpret_cast<sched::thread*>(nobody);
}
inline const bool is_thread = (become_thread(), true);

inline const bool has_memory = (mem::buffers.set_memory(frame_limit), true);

} // namespace oblako::test

namespace oblako::log {

inline void say(const char* format, va_list arguments) {
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
}
void panic(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  say(format, arguments);
  abort();
}
void error(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  say(format, arguments);
  va_end(arguments);
}

} // namespace oblako::log

namespace oblako::mem {

void* allocate(size_t bytes) {
  if (!test::may_allocate())
    return nullptr;
  // As the kernel's heap: sizes of 2^n are aligned to their size, others to 16.
  const size_t alignment = bytes & (bytes - 1) ? 16 : max_of<size_t>(bytes, 16);
  void* p = nullptr;
  if (posix_memalign(&p, min_of<size_t>(alignment, page_size), max_of<size_t>(bytes, 1)))
    abort();
  memset(p, 0xa5, bytes);
  test::live[p] = bytes;
  test::live_bytes += bytes;
  return p;
}
void* allocate_zeroed(size_t bytes) {
  void* p = allocate(bytes);
  if (p)
    memset(p, 0, bytes);
  return p;
}
frame_counters frame_counts = {test::frame_limit, test::frame_limit, 16};

// Charged by the byte: a test sees at once what was forgotten.
void* allocate_buffer(size_t bytes) {
  void* p = allocate(bytes);
  if (p) {
    test::charged[p] = bytes;
    buffers.charge(bytes);
  }
  return p;
}
void* allocate_buffer_object(size_t bytes) {
  return buffers.held() < buffers.limit() ? allocate_buffer(bytes) : nullptr;
}
void* allocate_buffer_zeroed(size_t bytes) {
  void* p = allocate_buffer(bytes);
  if (p)
    memset(p, 0, bytes);
  return p;
}
void release(void* memory) {
  if (!memory)
    return;
  const auto entry = test::live.find(memory);
  if (entry == test::live.end())
    log::panic("released what was not allocated");
  if (const auto c = test::charged.find(memory); c != test::charged.end()) {
    buffers.discharge(c->second);
    test::charged.erase(c);
  }
  test::live_bytes -= entry->second;
  test::live.erase(entry);
  free(memory);
}
void release_sized(void* memory, size_t bytes) {
  if (memory && test::live[memory] != bytes)
    log::panic("released %zu bytes with the size %zu", test::live[memory], bytes);
  release(memory);
}

result<phys_addr> allocate_frames(unsigned order, zeroed zero) {
  if (order != 0 || test::live_frames >= test::frame_limit || !test::may_allocate())
    return error::nomem;
  ++test::live_frames;
  void* p = aligned_alloc(page_size, page_size);
  memset(p, zero == zeroed::yes ? 0 : 0xa5, page_size);
  return to_physical(p);
}
void free_frames(phys_addr start, unsigned) {
  --test::live_frames;
  free(to_virtual(start));
}
frame_statistics frame_usage() {
  return {test::frame_limit * page_size, (test::frame_limit - test::live_frames) * page_size};
}

} // namespace oblako::mem

namespace oblako::time {
uint64_t monotonic_ns() {
  return test::clock_ns;
}
uint64_t wall_ns() {
  return test::clock_ns;
}
} // namespace oblako::time

namespace oblako::sched {
thread_waiter::thread_waiter() : observer(&thread_waiter::wake), thread_(current()) {}
bool thread_waiter::wake(observer&, uint32_t) {
  return true;
}
result<void> thread_waiter::sleep(bool) {
  log::panic("a test would sleep for ever");
}
result<void> thread_waiter::sleep(uint64_t, bool) {
  return error::timedout;
}
void wake(thread&) {}
void yield_if_needed() {}
result<void> interruption_point() {
  return {};
}
result<void> killable_point() {
  return {};
}
bool mutex::try_lock() {
  return false;
}
void mutex::lock_slow() {
  log::panic("a lock is taken twice by one thread");
}

// Wait queues as in core/sched/wait.cc, without the parts that sleep.
void wait_queue::add(observer& o) {
  o.queue_ = this;
  if (first_)
    algorithms::link_before(first_, &o);
  else
    algorithms::init_header(&o), first_ = &o;
}
void wait_queue::remove(observer& o) {
  if (o.queue_ != this)
    return;
  o.queue_ = nullptr;
  observer* next = o.next_ == &o ? nullptr : o.next_;
  algorithms::unlink(&o);
  if (first_ == &o)
    first_ = next;
}
void wait_queue::notify_all(uint32_t events) {
  if (!first_)
    return;
  observer* o = first_;
  do {
    o->notify_(*o, events);
    o = o->next_;
  } while (o != first_);
}
void wait_queue::notify_one(uint32_t events) {
  if (!first_)
    return;
  observer* o = first_;
  do {
    if (o->notify_(*o, events))
      return;
    o = o->next_;
  } while (o != first_);
}
} // namespace oblako::sched

// Application memory is the test's own: ordinary copies, which ASan checks.
extern "C" {
size_t app_access_copy(void* to, const void* from, size_t bytes) {
  memcpy(to, from, bytes);
  return 0;
}
size_t app_access_zero(void* to, size_t bytes) {
  memset(to, 0, bytes);
  return 0;
}
ptrdiff_t app_access_string(char* to, const char* from, size_t size) {
  for (size_t i = 0; i < size; ++i)
    if (!(to[i] = from[i]))
      return static_cast<ptrdiff_t>(i);
  return static_cast<ptrdiff_t>(size);
}
}
