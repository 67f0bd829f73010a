// What the calls that take a path have in common.
#pragma once

#include "core/fs/path.hh"
#include <fcntl.h>

namespace oblako::posix {

// The node a call with (fd, path, AT_ flags) means: AT_EMPTY_PATH and an empty path, or a null
// path, mean the descriptor's own node. A file without a node (pipe, socket) gives inval.
// Context: tree_lock not held.
inline result<mem::ref<fs::node>> node_at(int fd, const char* app_path, int flags,
                                          fs::last_link follow) {
  fs::path_string storage;
  text path;
  if (app_path || !(flags & AT_EMPTY_PATH))
    path = TRY(storage.load(app_path));
  if (path.size == 0 && (flags & AT_EMPTY_PATH) && fd != AT_FDCWD) {
    auto f = TRY(get_file(fd));
    if (fs::node* n = f->node())
      return mem::ref<fs::node>::share(n);
    return error::inval;
  }
  fs::tree_guard guard(fs::tree_lock);
  if (path.size == 0 && (flags & AT_EMPTY_PATH))
    return mem::ref<fs::node>::share(&fs::working_directory());
  return fs::find(fd, path, follow);
}

inline fs::last_link follow_unless(int flags, int nofollow_flag) {
  return flags & nofollow_flag ? fs::last_link::keep : fs::last_link::follow;
}

} // namespace oblako::posix
