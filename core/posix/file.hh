// Open files. A file is what a descriptor refers to: position and status flags live here and are
// shared by dup()ed descriptors. Everything an application can hold a descriptor for derives
// from it: regular files, directories, pipes, sockets, eventfd, timerfd, epoll, devices.
#pragma once

#include "core/base/result.hh"
#include "core/mem/app_memory.hh"
#include "core/mem/heap.hh"
#include "core/sched/wait.hh"
#include <stdint.h>

struct stat;

namespace oblako::posix {

class file : public mem::counted {
public:
  // What poll_events() may return and wake_all() is told: EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP,
  // EPOLLRDHUP, EPOLLPRI.
  explicit file(uint32_t status_flags) : flags_(status_flags) {}

  // Transfers at the file's own position (if it has one). Blocks unless O_NONBLOCK is set.
  // Returns the count; 0 from read is end of file. Errors: inval by default.
  virtual result<size_t> read(mem::io_buffers& to);
  virtual result<size_t> write(mem::io_buffers& from);
  // At a given offset, position untouched. Errors: spipe by default.
  virtual result<size_t> read_at(mem::io_buffers& to, uint64_t offset);
  virtual result<size_t> write_at(mem::io_buffers& from, uint64_t offset);
  virtual result<uint64_t> seek(int64_t offset, int whence); // spipe by default
  virtual result<void> status(struct stat& out);             // kernel memory
  virtual result<long> control(unsigned long request, void* app_argument); // ioctl; notty
  virtual result<void> truncate(uint64_t size);              // inval
  virtual result<void> sync();                               // fsync, fdatasync; success: nothing to do
  // The directory or file node behind this file, for openat() and friends; nullptr if none.
  virtual void* node() { return nullptr; }
  // Called once, when the last descriptor is closed (other references, such as a blocked reader's,
  // may still exist).
  virtual void closed() {}

  // What is ready now. Regular files are always ready.
  virtual uint32_t poll_events();
  // Notified with the new poll bits whenever poll_events() gains one. Every file has its queue.
  sched::wait_queue& readiness() { return readiness_; }
  // For files fed by the network: gives the stack a chance to run before a caller decides to sleep.
  // Returns true if it did work.
  virtual bool poll_sources() { return false; }
  // True if a wait on this file should be registered with the network poller.
  virtual bool needs_network() const { return false; }

  // O_NONBLOCK, O_APPEND, access mode...
  uint32_t flags() const { return __atomic_load_n(&flags_, __ATOMIC_RELAXED); }
  void set_flags(uint32_t f) { __atomic_store_n(&flags_, f, __ATOMIC_RELAXED); }

private:
  uint32_t flags_;
  sched::wait_queue readiness_;
};

// The descriptor table. Grows with memory up to RLIMIT_NOFILE; lowest free number first.
// Errors: badf; mfile; nomem.
result<mem::ref<file>> get_file(int fd);
enum class close_on_exec : bool { no, yes };
result<int> install_file(mem::ref<file> f, close_on_exec c = close_on_exec::no);

} // namespace oblako::posix
