// Path walking: from a string the application gave to a place in the tree.
#pragma once

#include "core/fs/node.hh"

namespace oblako::fs {

// A path copied from the application: short ones lie inside, long ones on the kernel heap.
class path_string : noncopyable {
public:
  ~path_string() { mem::release(heap_); }
  // Errors: fault, nametoolong, nomem.
  result<text> load(const char* app_path);

private:
  char inline_[120];
  char* heap_ = nullptr;
};

enum class last_link : bool { keep, follow };

// Where a path leads: the directory its last component is in, that component, and the node it
// names, null if there is none. For paths that end in "/", "." or ".." `name` is empty and only
// `target` counts.
struct place {
  mem::ref<node> directory;
  mem::ref<node> target;
  bool wants_directory = false; // the path ended in a slash
  uint8_t name_size = 0;
  char name_data[name_limit];

  text name() const { return {name_data, name_size}; }
};

// Walks `path` from `start` (or from the root if it is absolute). A missing last component is no
// error here. Errors: noent (empty path, or missing on the way), notdir, loop, nametoolong.
// Context: thread, tree_lock held.
result<void> walk(node& start, text path, last_link follow, place& out);

// The directory a *at() call starts from: AT_FDCWD, or a descriptor. Errors: badf, notdir.
// Context: thread, tree_lock held.
result<mem::ref<node>> start_directory(int fd, text path);

// The node at (fd, path). Errors: as walk(), noent. Context: thread, tree_lock held.
result<mem::ref<node>> find(int fd, text path, last_link follow);

// The absolute path of a directory. Errors: noent (it was removed), range (does not fit).
// Returns its length with the terminator. Context: thread, tree_lock held.
result<size_t> path_of(node& directory, char* to, size_t size);

} // namespace oblako::fs
