// The power button (QEMU's system_powerdown, libvirt's shutdown): an ACPI event that becomes a
// request to the application to end. Fixed hardware (pc, q35) reports it in the PM1 status
// register, reduced hardware (microvm) in the event device's.
// Spec: ACPI 6.4, 4.8.2.2 (power button), 4.8.3.1 (PM1 event registers), 5.6.9 (event device).
#include "arch/x64/acpi.hh"
#include "arch/x64/cpu.hh"
#include "arch/x64/interrupts.hh"
#include "core/base/needs.hh"
#include "core/log/log.hh"
#include "core/mem/kernel_map.hh"

// Offered where signals are linked: SIGTERM to the application. Interrupt context.
extern "C" [[gnu::weak]] void oblako_power_button();

namespace oblako::arch {

namespace {

constexpr uint16_t pm1_power_button = 1u << 8;   // the same bit in status and enable
constexpr uint32_t event_power_button = 1u << 1; // QEMU's event device: power down

constinit uint16_t pm1_status_port = 0;
constinit volatile uint32_t* event_register = nullptr;

void pressed() {
  if (oblako_power_button)
    oblako_power_button();
}

void on_sci(void*) {
  if (!(in16(pm1_status_port) & pm1_power_button))
    return;
  out16(pm1_status_port, pm1_power_button); // writing 1 clears
  pressed();
}

void on_event(void*) {
  if (*event_register & event_power_button) // reading clears
    pressed();
}

result<void> connect(interrupt_handler handler, uint32_t gsi, trigger t, polarity p) {
  const uint8_t vector = TRY(allocate_vector(handler, nullptr));
  auto routed = route_gsi(gsi, vector, t, p);
  if (!routed.ok())
    free_vector(vector);
  return routed;
}

// The firmware hands the fixed hardware over when asked to; until then events are its own.
void leave_legacy_mode(const acpi::information& info) {
  constexpr uint16_t sci_enabled = 1;
  if (!info.smi_command_port || !info.acpi_enable || !info.pm1a_control.address)
    return;
  if (!(in16(static_cast<uint16_t>(info.pm1a_control.address)) & sci_enabled))
    out8(info.smi_command_port, info.acpi_enable);
}

// The event block is status and, in its second half, enable.
result<void> start_fixed(const acpi::information& info) {
  if (info.pm1a_event.space != acpi::address_space::port || !info.pm1a_event.address ||
      info.pm1_event_bytes < 4 || !info.sci_irq)
    return error::nxio;
  pm1_status_port = static_cast<uint16_t>(info.pm1a_event.address);
  const auto enable_port = static_cast<uint16_t>(pm1_status_port + info.pm1_event_bytes / 2);
  auto irq = resolve_isa_irq(static_cast<uint8_t>(info.sci_irq));
  // Without an override the SCI is level, active low (5.2.9, SCI_INT): never ISA's edge.
  if (irq.trigger == trigger::edge)
    irq.trigger = trigger::level, irq.polarity = polarity::low;
  TRY(connect(on_sci, irq.gsi, irq.trigger, irq.polarity));
  leave_legacy_mode(info);
  out16(pm1_status_port, pm1_power_button); // a press from before is not meant for us
  out16(enable_port, pm1_power_button);
  return {};
}

result<void> start_events(const acpi::information& info) {
  if (!info.events.address)
    return error::nxio;
  volatile void* mapped = TRY(mem::map_device(phys_addr{info.events.address}, 4));
  event_register = static_cast<volatile uint32_t*>(mapped);
  return connect(on_event, info.events.gsi, trigger::edge, polarity::high);
}

} // namespace

} // namespace oblako::arch

// Called when signals start; nothing on a machine without ACPI.
extern "C" void oblako_start_power_button() {
  using namespace oblako::arch;
  OBLAKO_NEEDS(oblako_acpi_event_device);
  const oblako::acpi::information* info = acpi_information();
  if (!info || !info->has_fadt)
    return;
  auto started = info->reduced_hardware ? start_events(*info) : start_fixed(*info);
  if (!started.ok())
    oblako::log::warning("the power button cannot be used (error %d)",
                         static_cast<int>(started.code()));
}
