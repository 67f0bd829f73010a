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

// What happens to a symbolic link that the path ends in: it is followed; it is kept, unless a slash
// comes behind it (lstat); or it is kept always, because the call is about the name (unlink,
// rename).
enum class last_link : uint8_t { follow, keep, name };

// What kind of component the path ended in.
enum class last_component : uint8_t { name, root, dot, dot_dot };

// Where a path leads: the directory its last component is in, that component, and the node it
// names, null if there is none. For paths that end in something else than a name only `target`
// counts.
struct place {
  mem::ref<node> directory;
  mem::ref<node> target;
  last_component last = last_component::root;
  bool wants_directory = false; // a slash came behind it
  uint8_t name_size = 0;
  char name_data[name_limit];

  bool is_name() const { return last == last_component::name; }
  text name() const { return {name_data, name_size}; }
};

enum class slash_behind_name : bool { allowed, is_directory };

// Walks `path` from `start` (or from the root if it is absolute). A missing last component is no
// error here. Errors: noent (empty path, or missing on the way), notdir, loop, nametoolong; isdir
// for a slash behind the last name if that is asked for (O_CREAT).
// Context: thread, tree_lock held.
result<void> walk(node& start, text path, last_link follow, place& out,
                  slash_behind_name slash = slash_behind_name::allowed);

// The directory a *at() call starts from: AT_FDCWD, or a descriptor. Errors: badf, notdir.
// Context: thread, tree_lock held.
result<mem::ref<node>> start_directory(int fd, text path);

// The node at (fd, path). Errors: as walk(), noent. Context: thread, tree_lock held.
result<mem::ref<node>> find(int fd, text path, last_link follow);

// The absolute path of a directory. Errors: noent (it was removed), range (does not fit).
// Returns its length with the terminator. Context: thread, tree_lock held.
result<size_t> path_of(node& directory, char* to, size_t size);

} // namespace oblako::fs
