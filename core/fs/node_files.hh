// Open files of nodes: regular files, directories, and O_PATH handles.
#pragma once

#include "core/fs/node.hh"

namespace oblako::fs {

class tmpfs_file;

// Errors: nomem.
result<mem::ref<posix::file>> open_regular(tmpfs_file& n, uint32_t flags);
result<mem::ref<posix::file>> open_directory(node& n, uint32_t flags);
result<mem::ref<posix::file>> open_path_only(node& n, uint32_t flags);

} // namespace oblako::fs
