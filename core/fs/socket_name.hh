// Names of local sockets in the file tree. Offered weakly: without a file system in the image both
// are null. Context: thread, tree_lock not held.
#pragma once

#include "core/fs/node.hh"

namespace oblako::fs {

// Makes a socket's node. Errors: exist, and those of the path.
[[gnu::weak]] result<mem::ref<node>> make_socket_name(text path);
// The socket's node there. Errors: those of the path; connrefused (something else has that name).
[[gnu::weak]] result<mem::ref<node>> find_socket_name(text path);

} // namespace oblako::fs
