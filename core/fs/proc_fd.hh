// The directories of /proc/self whose names are numbers: fd, links to what the descriptors refer
// to, and task, a directory for each thread. In that is what is told of the process: of a thread
// the kernel keeps nothing else that Linux shows there.
#pragma once

#include "core/fs/node.hh"

namespace oblako::fs {

// Errors: nomem.
result<mem::ref<node>> make_fd_directory();
result<mem::ref<node>> make_task_directory();

} // namespace oblako::fs
