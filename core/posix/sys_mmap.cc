// System calls on the application's address space: mmap munmap mprotect mremap madvise brk.
#include "arch/x64/syscall_entry.hh"
#include "core/mem/areas.hh"
#include "core/posix/file.hh"
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

namespace oblako {
namespace {

using namespace posix;

constexpr uint32_t to_protection(long prot) {
  static_assert(PROT_READ == mem::prot_read && PROT_WRITE == mem::prot_write &&
                PROT_EXEC == mem::prot_exec);
  return static_cast<uint32_t>(prot) & (PROT_READ | PROT_WRITE | PROT_EXEC);
}

// Holds the file's pages while the mapping is made; the area takes a reference of its own.
class borrowed_source {
public:
  explicit borrowed_source(mem::page_source* s) : source_(s) {}
  borrowed_source(borrowed_source&& o) noexcept : source_(std::exchange(o.source_, nullptr)) {}
  ~borrowed_source() {
    if (source_)
      source_->drop_reference();
  }
  mem::page_source* get() const { return source_; }

private:
  mem::page_source* source_;
};

// A shared mapping can be served like a private one as long as nobody can write through it.
result<borrowed_source> source_of(int fd, int prot, int flags) {
  auto f = TRY(get_file(fd));
  if ((f->flags() & O_ACCMODE) == O_WRONLY)
    return error::acces;
  const bool shared = (flags & MAP_TYPE) != MAP_PRIVATE;
  if (shared && (prot & PROT_WRITE))
    return (f->flags() & O_ACCMODE) == O_RDWR ? error::nodev : error::acces;
  return borrowed_source(TRY(f->mapping_source()));
}

result<uintptr_t> map_file(mem::mapping_request& r, int fd, int prot, int flags) {
  const borrowed_source source = TRY(source_of(fd, prot, flags));
  r.source = source.get();
  return mem::map(r);
}

} // namespace
} // namespace oblako

using namespace oblako;

OBLAKO_SYSCALL(sys_mmap, do_mmap);
extern "C" long do_mmap(uintptr_t address, size_t bytes, int prot, int flags, int fd, long offset) {
  const int type = flags & MAP_TYPE;
  if ((type != MAP_PRIVATE && type != MAP_SHARED && type != MAP_SHARED_VALIDATE) ||
      offset % static_cast<long>(page_size))
    return -EINVAL;
  const bool fixed = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE);
  mem::mapping_request r{
      .hint = fixed ? address : align_down(address, page_size),
      .bytes = bytes,
      .prot = to_protection(prot),
      .fixed = (flags & MAP_FIXED) != 0,
      .no_replace = (flags & MAP_FIXED_NOREPLACE) != 0,
      .populate = (flags & MAP_POPULATE) != 0,
      .no_reserve = (flags & MAP_NORESERVE) != 0,
      .stack = (flags & (MAP_STACK | MAP_GROWSDOWN)) != 0,
      .offset = static_cast<uint64_t>(offset),
  };
  // There is one process: a shared anonymous mapping is nobody else's.
  return to_syscall(flags & MAP_ANONYMOUS ? mem::map(r) : map_file(r, fd, prot, flags));
}

OBLAKO_SYSCALL(sys_munmap, do_munmap);
extern "C" long do_munmap(uintptr_t address, size_t bytes) {
  return to_syscall(mem::unmap(address, bytes));
}

OBLAKO_SYSCALL(sys_mprotect, do_mprotect);
extern "C" long do_mprotect(uintptr_t address, size_t bytes, int prot) {
  return to_syscall(mem::protect(address, bytes, static_cast<uint32_t>(prot)));
}

OBLAKO_SYSCALL(sys_mremap, do_mremap);
extern "C" long do_mremap(uintptr_t old_address, size_t old_bytes, size_t new_bytes, int flags,
                          uintptr_t new_address) {
  return to_syscall(mem::remap(old_address, old_bytes, new_bytes, flags, new_address));
}

OBLAKO_SYSCALL(sys_madvise, do_madvise);
extern "C" long do_madvise(uintptr_t address, size_t bytes, int advice) {
  return to_syscall(mem::advise(address, bytes, advice));
}

OBLAKO_SYSCALL(sys_brk, do_brk);
extern "C" long do_brk(uintptr_t address) {
  return to_syscall(mem::set_break(address));
}
