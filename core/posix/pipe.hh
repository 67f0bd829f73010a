// Pipes and FIFOs: up to 64 kB of bytes between open ends. Writes of up to 4096 bytes (PIPE_BUF) go
// in whole or not at all.
#pragma once

#include "core/mem/buffer_account.hh"
#include "core/posix/file.hh"

namespace oblako::posix {

class pipe_end;

class pipe_buffer final : public mem::counted {
public:
  using counts_as_buffer = void;
  static constexpr size_t capacity = 64_KiB;
  static constexpr size_t atomic_size = 4096; // PIPE_BUF

  ~pipe_buffer() override;

  // Bytes that can be read, and that can be written. Context: any.
  size_t available() const {
    return static_cast<size_t>(__atomic_load_n(&written_, __ATOMIC_ACQUIRE) -
                               __atomic_load_n(&read_, __ATOMIC_ACQUIRE));
  }
  size_t space() const {
    const size_t limit = may_hold(), there = available();
    return there < limit ? limit - there : 0;
  }
  // What it may hold now: with memory short as little as a page (core/mem/buffer_account.hh).
  static size_t may_hold() { return min_of(capacity, mem::buffers.share(atomic_size)); }
  // A writer has found too little space; the next who reads wakes it, whatever the limit is then.
  void note_tight() { __atomic_store_n(&tight_, true, __ATOMIC_SEQ_CST); }
  bool has_writers() const { return __atomic_load_n(&writers_, __ATOMIC_ACQUIRE) != 0; }
  bool has_readers() const { return __atomic_load_n(&readers_, __ATOMIC_ACQUIRE) != 0; }

  // Moves what can be moved now. Errors: fault, nomem. Notifies the other side.
  result<size_t> take(mem::io_buffers& to);
  result<size_t> put(mem::io_buffers& from, size_t at_least);

  void attach(pipe_end& e);
  void detach(pipe_end& e);
  // Times a reading, a writing end was opened: what opening the other end of a FIFO waits for.
  uint64_t readers_seen() const { return __atomic_load_n(&readers_seen_, __ATOMIC_ACQUIRE); }
  uint64_t writers_seen() const { return __atomic_load_n(&writers_seen_, __ATOMIC_ACQUIRE); }
  sched::wait_queue& opened() { return opened_; }

private:
  // One more than the capacity needs: 64 kB that begin inside a page touch 17 of them.
  static constexpr size_t page_count = capacity / page_size + 1;

  uint8_t*& page_at(uint64_t position) { return pages_[position / page_size % page_count]; }
  void notify(bool readers, uint32_t events);

  sched::mutex lock_; // held across accesses to application memory
  // --- guarded by lock_; counters are also read without it
  uint64_t read_ = 0, written_ = 0; // bytes since the beginning
  uint8_t* pages_[page_count] = {}; // by position; null where nothing is stored
  uint32_t readers_ = 0, writers_ = 0;
  uint64_t readers_seen_ = 0, writers_seen_ = 0;
  bool tight_ = false; // atomic
  pipe_end* ends_ = nullptr;

  sched::wait_queue opened_;
};

class pipe_end final : public file {
public:
  using counts_as_buffer = void;
  // The access mode in `flags` says which end.
  pipe_end(pipe_buffer& p, uint32_t flags, mem::ref<mem::counted> node);
  ~pipe_end() override;

  result<size_t> read(mem::io_buffers& to) override;
  result<size_t> write(mem::io_buffers& from) override;
  result<void> status(struct stat& out) override;
  result<long> control(unsigned long request, void* app_argument) override;
  result<long> control_by_fcntl(int command, unsigned long argument) override;
  uint32_t poll_events() override;
  void closed() override { detach(); }

  const bool reads, writes;

private:
  friend class pipe_buffer;
  void detach();

  const mem::ref<pipe_buffer> pipe_;
  const mem::ref<mem::counted> node_; // a FIFO's; keeps it while an end is open
  pipe_end* next_ = nullptr;          // guarded by the pipe's lock
  bool attached_ = true;
  // A FIFO's reader that came first sees no hang-up before there was a writer.
  const uint64_t writers_before_;
};

} // namespace oblako::posix
