// /proc/self/fd: a directory of links to what the descriptors refer to.
#pragma once

#include "core/fs/node.hh"

namespace oblako::fs {

// Errors: nomem.
result<mem::ref<node>> make_fd_directory();

} // namespace oblako::fs
