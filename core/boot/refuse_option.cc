// The end of a machine that was given what it cannot be. Apart, for images in which no option can.
#include "arch/x64/cpu.hh"
#include "core/boot/options.hh"
#include "core/log/log.hh"

namespace oblako::boot {

constexpr int configuration_status = 78; // EX_CONFIG

void refuse_option(const char* name, const char* value, const char* what) {
  log::error("oblako: %s=%s %s; the machine ends here", name, value, what);
  arch::power_off(configuration_status);
}

} // namespace oblako::boot
