// Opening a FIFO: each side waits until the other has been opened.
#include "core/fs/tmpfs.hh"
#include "core/posix/pipe.hh"
#include <fcntl.h>

using namespace oblako;
using namespace oblako::posix;

namespace {

// The FIFO's pipe, made when it is first opened.
result<mem::ref<pipe_buffer>> pipe_of(mem::counted*& held) {
  fs::tree_guard guard(fs::tree_lock);
  if (!held)
    held = TRY(mem::make_shared<pipe_buffer>()).leak();
  return mem::ref<pipe_buffer>::share(static_cast<pipe_buffer*>(held));
}

} // namespace

extern "C" result<mem::ref<file>> oblako_open_fifo(mem::counted*& held, uint32_t flags,
                                                   fs::node& of) {
  auto p = TRY(pipe_of(held));
  const bool reads = (flags & O_ACCMODE) != O_WRONLY, writes = (flags & O_ACCMODE) != O_RDONLY;
  if (writes && !reads && (flags & O_NONBLOCK) && !p->has_readers())
    return error::nxio;
  const uint64_t readers = p->readers_seen(), writers = p->writers_seen();
  auto end = TRY(mem::make_shared<pipe_end>(*p, flags, mem::ref<mem::counted>::share(&of)));
  if ((flags & O_NONBLOCK) || (reads && writes))
    return mem::ref<file>(std::move(end));
  TRY(sched::wait_until(p->opened(), [&] {
    return reads ? p->has_writers() || p->writers_seen() != writers
                 : p->has_readers() || p->readers_seen() != readers;
  }));
  return mem::ref<file>(std::move(end));
}
