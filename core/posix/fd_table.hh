// The descriptor table: number -> open file. Lookups are a bounds check and a load under a
// spinlock held for a handful of instructions (interrupt handlers never take it, so interrupts
// stay on). Free numbers are found through a bitmap with one summary bit per 64 numbers.
#pragma once

#include "core/base/result.hh"
#include "core/base/types.hh"
#include "core/mem/heap.hh"
#include "core/sched/spinlock.hh"
#include <stdint.h>

namespace oblako::posix {

class file;

class fd_table : noncopyable {
public:
  static constexpr uint32_t initial_size = 64; // enough for a small program, no allocation
  static constexpr uint32_t maximum_size = 1u << 20;

  // `slots`, `used`, `cloexec`, `full`: zeroed storage for `initial_size` numbers, which a
  // constant-initialised global can name (the table itself lies in .data, the storage in .bss).
  constexpr fd_table(file** slots, uint64_t* bits) : slots_(slots), bits_(bits) {}

  // The file with a new reference, or nullptr.
  file* acquire(int fd);
  bool valid(int fd);

  // The lowest free number not below `from`. Errors: mfile, nomem, inval (from past the limit).
  result<int> install(file* f, bool close_on_exec, uint32_t from = 0);
  // Puts `f` at exactly this number and returns what was there (nullptr: nothing); the caller
  // finishes with dropped(). Errors: badf (number past the limit), nomem.
  result<file*> replace(int fd, file* f, bool close_on_exec);
  // Takes the file out; nullptr if there is none. The caller finishes with dropped().
  file* remove(int fd);
  // The other half of replace() and remove(): counts the descriptor down, runs closed() and the
  // watchers if it was the last, and drops the table's reference. May block.
  static void dropped(file* f);
  // Counts a descriptor that is in no table: one on its way to a receiver. Ends with dropped().
  static void held(file* f);

  // The first number in use in [from, last], or -1.
  int next_used(uint32_t from, uint32_t last);

  bool close_on_exec(int fd);
  void set_close_on_exec(int fd, bool on);

  uint32_t limit() const { return __atomic_load_n(&limit_, __ATOMIC_RELAXED); }
  void set_limit(uint32_t n) {
    __atomic_store_n(&limit_, min_of(n, maximum_size), __ATOMIC_RELAXED);
  }

  // 64-bit words of bitmap storage for `size` numbers: in use, close-on-exec, and one summary bit
  // per word of the first.
  static constexpr size_t bitmap_words(uint32_t size) {
    return 2 * (size / 64) + (size / 64 + 63) / 64;
  }

private:
  uint64_t* used() { return bits_; }
  uint64_t* cloexec() { return bits_ + size_ / 64; }
  uint64_t* full() { return bits_ + 2 * (size_ / 64); }
  uint32_t lowest_free(uint32_t from);
  result<void> grow_to_hold(uint32_t number);
  void put(uint32_t fd, file* f, bool close_on_exec);
  void mark_free(uint32_t fd);

  sched::spinlock lock_{sched::lock_rank::descriptors};
  uint32_t size_ = initial_size;
  uint32_t limit_ = 65536;
  file** slots_;
  uint64_t* bits_;
};

extern fd_table descriptors;

// What a lookup that found nothing returns: opens the console on 0, 1 and 2 the first time a
// program asks for them, error::badf otherwise.
result<mem::ref<file>> missing_file(int fd);
// Makes sure that 0, 1 and 2 are taken before another number is given out.
void open_standard_files();

} // namespace oblako::posix
