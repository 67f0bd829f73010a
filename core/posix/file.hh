// Open files. A file is what a descriptor refers to: position and status flags live here and are
// shared by dup()ed descriptors. Everything an application can hold a descriptor for derives
// from it: regular files, directories, pipes, sockets, eventfd, timerfd, epoll, devices.
#pragma once

#include "core/base/result.hh"
#include "core/mem/app_memory.hh"
#include "core/mem/heap.hh"
#include "core/posix/fd_table.hh"
#include "core/sched/wait.hh"
#include <stdint.h>

struct stat;

namespace oblako::fs {
class node;
}
namespace oblako::mem {
class page_source;
}

namespace oblako::net {
class socket;
}

namespace oblako::posix {

class file;

// Linked to a file by whoever must hear that its last descriptor is gone (epoll registrations).
// `closed` drops every watcher of that file; the list is guarded by its lock.
struct close_watcher {
  close_watcher* next = nullptr;
  close_watcher** link = nullptr; // what points at this one
  void (*closed)(file&) = nullptr;
};

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
  virtual result<uint64_t> seek(int64_t offset, int whence);               // spipe by default
  virtual result<void> status(struct stat& out);                           // kernel memory
  virtual result<long> control(unsigned long request, void* app_argument); // ioctl; notty
  // fcntl commands that only some files know (F_SETPIPE_SZ, F_ADD_SEALS). Errors: inval by default.
  virtual result<long> control_by_fcntl(int command, unsigned long argument);
  virtual result<void> truncate(uint64_t size); // inval
  virtual result<void> sync();                  // fsync, fdatasync; success: nothing to do
  // Directory entries in Linux's getdents64 layout; 0 at the end. Errors: notdir by default.
  virtual result<size_t> read_directory(mem::io_buffers& to);
  // fallocate(2). Errors: nodev by default.
  virtual result<void> allocate_range(int mode, uint64_t offset, uint64_t bytes);
  // Where a private mapping of this file takes its pages from; the caller owns one reference.
  // Errors: nodev (cannot be mapped), acces (not open for reading).
  virtual result<mem::page_source*> mapping_source();
  // The directory or file node behind this file, for openat() and friends; nullptr if none.
  virtual fs::node* node() { return nullptr; }
  // This file, if it is a socket; nullptr otherwise (ENOTSOCK).
  virtual net::socket* as_socket() { return nullptr; }
  // Which class it is, for calls that work on one kind of descriptor only: the address of
  // something of that class's own. (The kernel has no RTTI.)
  virtual const void* kind() const { return nullptr; }
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

  close_watcher*& watchers() { return watchers_; }
  // False once the last descriptor is closed. A watcher links itself first and asks then.
  bool has_descriptors() const { return descriptor_count() != 0; }
  // Numbers that refer to this file, those on their way through a local socket included.
  uint32_t descriptor_count() const { return __atomic_load_n(&descriptors_, __ATOMIC_SEQ_CST); }

private:
  friend class fd_table;
  uint32_t flags_;
  uint32_t descriptors_ = 0; // atomic
  close_watcher* watchers_ = nullptr;
  sched::wait_queue readiness_;
};

inline file* fd_table::acquire(int fd) {
  lock_.lock();
  file* f = static_cast<unsigned>(fd) < size_ ? slots_[fd] : nullptr;
  if (f) [[likely]]
    f->add_reference();
  lock_.unlock();
  return f;
}

// The application's descriptors. Errors: badf; mfile; nomem. Context: thread.
inline result<mem::ref<file>> get_file(int fd) {
  if (file* f = descriptors.acquire(fd)) [[likely]]
    return mem::ref<file>::adopt(f);
  return missing_file(fd);
}
// The same for calls in which every instruction counts: nullptr for any error, and the caller drops
// the reference.
inline file* acquire_file(int fd) {
  file* f = descriptors.acquire(fd);
  if (!f) [[unlikely]] {
    auto missing = missing_file(fd);
    f = missing.ok() ? missing->leak() : nullptr;
  }
  return f;
}
enum class close_on_exec : bool { no, yes };
result<int> install_file(mem::ref<file> f, close_on_exec c = close_on_exec::no);

} // namespace oblako::posix
