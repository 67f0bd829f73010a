// Advisory locks of files: flock(), and fcntl's locks of byte ranges. A lock has an owner, and only
// locks of different owners exclude each other: for flock() and F_OFD_* the owner is the open file
// description, for F_SETLK the process. flock()'s locks and those of ranges do not see each other.
#pragma once

#include "core/posix/file.hh"
#include "core/posix/range_locks.hh"

struct flock;

namespace oblako::posix {

struct lock_owner {
  const void* identity; // a file, or the process's descriptor table
  int pid;              // -1: an open file description
  bool is_process() const { return pid >= 0; }
};

enum class wait_for_lock : bool { no, yes };

// fcntl's F_GETLK, F_SETLK, F_SETLKW and their F_OFD_ forms.
// Offered weakly: an image that opens no files has nothing to lock, and links nothing of it.
// Errors: again; badf; deadlk; inval; overflow; nolck; fault; restart. Context: thread, may block.
[[gnu::weak]] result<long> control_range_lock(file& f, int command, struct flock* app_lock);

// What the last descriptor of a description, and what every close() by a process gives back.
// Offered weakly: an image that takes no locks has neither. Context: thread, may block.
[[gnu::weak]] void drop_description_locks(file& f);
[[gnu::weak]] void drop_process_locks(file& f);

} // namespace oblako::posix
