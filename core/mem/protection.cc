// Which protections a mapping may have: no memory is writable and executable at once, the image's
// text and constants stay what they are, and neither the image's data nor stacks nor the break
// become code. The errors are those of Linux where SELinux denies execmem, execheap, execstack and
// execmod, and for the image those of mseal().
#include "core/boot/options.hh"
#include "core/log/log.hh"
#include "core/mem/address_space.hh"

namespace oblako::mem {

namespace {

constexpr uint32_t write_and_execute = prot_write | prot_exec;

// `mem.wx=allow` on the command line: for programs that make code while it runs and do not part
// writing from executing. Said once, because such a program often says nothing itself.
bool allowed_by_option() {
  static bool said;
  if (boot::option("mem.wx")) // has been checked
    return true;
  if (!__atomic_exchange_n(&said, true, __ATOMIC_RELAXED)) // only whether it was said
    log::warning("the application asked for memory that is both writable and executable, or for an "
                 "executable stack or heap, and got EACCES; mem.wx=allow permits it");
  return false;
}

} // namespace

result<void> check_protection(uint8_t flags, uint32_t prot) {
  if (flags & area_image) {
    const uint32_t never = flags & area_text       ? uint32_t{prot_write}
                           : flags & area_constant ? write_and_execute
                                                   : uint32_t{prot_exec};
    if (prot & never)
      return error::acces;
    return {};
  }
  const bool both = (prot & write_and_execute) == write_and_execute;
  const bool data = (prot & prot_exec) && (flags & (area_stack | area_heap));
  if ((both || data) && !allowed_by_option())
    return error::acces;
  return {};
}

} // namespace oblako::mem
