// Ending the VM. Success is ACPI S5 where there is ACPI, else a reserved value for isa-debug-exit,
// so that the host can tell it from a triple fault. A monitor that has neither gets a triple fault
// all the same, which every monitor takes as a reset (Firecracker ends with it). Failure has to
// reach the host's exit status: isa-debug-exit, else a pvpanic event, else a reset.
#include "arch/x64/acpi.hh"
#include "arch/x64/cpu.hh"
#include "core/mem/kernel_map.hh"

namespace oblako::arch {

namespace {

constexpr uint16_t port_debug_exit = 0x501;
// QEMU ends with 2 * value + 1, of which the host keeps eight bits: seven of ours. The value for
// success is known to scripts/vmkit/vm.py.
constexpr uint8_t debug_exit_success = 90, debug_exit_failure = 1, debug_exit_bits = 0x7f;
constexpr uint16_t port_pvpanic = 0x505;
constexpr uint16_t port_reset_control = 0xcf9;

[[noreturn]] void triple_fault() {
  // No interrupt table: the exception cannot be delivered, nor the double fault after it. A write
  // to page 0, which is never mapped, because a KVM that interprets ring 0 knows no INT3.
  const struct [[gnu::packed]] {
    uint16_t limit;
    uint64_t base;
  } none{0, 0};
  asm volatile("lidt %0; movb $0, 0" ::"m"(none));
  __builtin_unreachable();
}

// The monitor acts on a power request outside the vCPU: give it time before trying the next way.
void wait_for_the_monitor() {
  constexpr uint64_t about_a_second = uint64_t{3} << 30; // TSC ticks
  const uint64_t start = read_tsc();
  while (read_tsc() - start < about_a_second)
    pause();
}

void write8(const acpi::io_register& r, uint8_t value) {
  if (r.space == acpi::address_space::port)
    return out8(static_cast<uint16_t>(r.address), value);
  auto mapped = mem::map_device(phys_addr{r.address}, 1);
  if (mapped.ok())
    *static_cast<volatile uint8_t*>(*mapped) = value;
}

// PM1 control registers are 16 bits in port space on every machine that is not reduced hardware.
void enter_sleep(const acpi::io_register& control, uint8_t type) {
  constexpr uint16_t sleep_enable = 1u << 13;
  constexpr uint16_t keep = 0x0003; // SCI_EN, BM_RLD
  if (!control.address || control.space != acpi::address_space::port)
    return;
  const auto port = static_cast<uint16_t>(control.address);
  out16(port, static_cast<uint16_t>((in16(port) & keep) | type << 10 | sleep_enable));
}

// ACPI 6.4, 4.8.3.2 (PM1 control), 4.8.3.7 (sleep control).
void acpi_power_off(const acpi::information& info) {
  if (info.reduced_hardware) {
    if (!info.sleep_control.address)
      return;
    write8(info.sleep_control, static_cast<uint8_t>(info.s5_type_a << 2 | 1u << 5));
  } else {
    enter_sleep(info.pm1a_control, info.s5_type_a);
    enter_sleep(info.pm1b_control, info.s5_type_b);
  }
  wait_for_the_monitor();
}

// A failure that would look like a success there, or like QEMU's own failure, is another failure.
uint8_t debug_exit_value(int status) {
  if (status == 0)
    return debug_exit_success;
  const auto value = static_cast<uint8_t>(status & debug_exit_bits);
  return value == 0 || value == debug_exit_success ? debug_exit_failure : value;
}

} // namespace

void power_off(int status) {
  disable_interrupts();
  if (status == 0)
    if (const acpi::information* info = acpi_information(); info && info->has_fadt)
      acpi_power_off(*info);
  out8(port_debug_exit, debug_exit_value(status));
  // Still here: no such device.
  if (status == 0)
    triple_fault();
  // pvpanic reads as the events it knows; an empty port as all ones.
  const uint8_t events = in8(port_pvpanic);
  if (events != 0xff && (events & 1)) {
    out8(port_pvpanic, 1);
    wait_for_the_monitor();
  }
  reboot();
}

void reboot() {
  disable_interrupts();
  if (const acpi::information* info = acpi_information(); info && info->reset.address) {
    write8(info->reset, info->reset_value);
    wait_for_the_monitor();
  }
  // The reset control register of PC chipsets: hard reset, CPU and all.
  out8(port_reset_control, 0x06);
  triple_fault();
}

} // namespace oblako::arch
