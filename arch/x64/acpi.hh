// The few facts we need from the ACPI tables: interrupt controllers, how to power off and reset,
// virtio-mmio devices. No interpreter: what is in the DSDT is found by the bytes it is encoded as.
// Tables come from outside; a broken one yields less information, never an access outside it.
// Spec: ACPI 6.4, chapters 5.2 (tables), 4.8 (fixed hardware), 7.4.2.5 (\_S5).
#pragma once

#include "arch/x64/interrupts.hh"
#include <stddef.h>
#include <stdint.h>

namespace oblako::acpi {

// Gives `bytes` bytes of physical memory, or nullptr if they cannot be had.
class physical_memory {
public:
  virtual const uint8_t* at(uint64_t address, size_t bytes) = 0;

protected:
  ~physical_memory() = default;
};

// A register of the fixed hardware (Generic Address Structure, 5.2.3.2). Absent: address 0.
enum class address_space : uint8_t { memory = 0, port = 1 };
struct io_register {
  address_space space;
  uint64_t address;
};

struct ioapic_entry {
  uint64_t address;
  uint32_t first_gsi;
};

struct interrupt_override {
  uint8_t isa_irq;
  uint32_t gsi;
  arch::trigger trigger;
  arch::polarity polarity;
};

// A virtio-mmio device the DSDT describes ("LNRO0005"; microvm with ACPI, Firecracker).
struct virtio_mmio_device {
  uint32_t address, bytes;
  uint32_t gsi;
};

// The event device of reduced hardware ("ACPI0013"): its register says what happened.
struct event_device {
  uint64_t address; // 0: none
  uint32_t gsi;
};

constexpr size_t max_ioapics = 8;
constexpr size_t max_overrides = 16;
constexpr size_t max_virtio_mmio_devices = 32;

struct information {
  bool has_fadt;
  bool reduced_hardware;
  uint16_t sci_irq;          // 0: none
  uint16_t smi_command_port; // writing acpi_enable there hands the fixed hardware over; 0: done
  uint8_t acpi_enable;
  io_register pm1a_event, pm1b_event;
  uint8_t pm1_event_bytes; // both halves: status, then enable
  io_register pm1a_control, pm1b_control;
  io_register sleep_control; // reduced hardware
  io_register reset;
  uint8_t reset_value;
  uint8_t s5_type_a, s5_type_b; // SLP_TYP for power off

  ioapic_entry ioapics[max_ioapics];
  size_t ioapic_count;
  interrupt_override overrides[max_overrides];
  size_t override_count;
  virtio_mmio_device virtio_mmio[max_virtio_mmio_devices];
  size_t virtio_mmio_count;
  event_device events;
};

// Reads what is there. False: no valid RSDP at that address or no root table. What only some images
// use is left out unless its file is linked: who uses it says so with OBLAKO_NEEDS.
//   oblako_acpi_interrupts (ioapics, overrides), oblako_acpi_virtio_mmio, oblako_acpi_event_device
bool parse(physical_memory& memory, uint64_t rsdp, information& out);
// Looks for the RSDP where a BIOS leaves it (0xE0000-0xFFFFF). 0: none.
uint64_t scan_for_rsdp(physical_memory& memory);
// \_S5's first two elements from AML. False: no such object in a form we know.
bool find_s5(const uint8_t* aml, size_t bytes, uint8_t& type_a, uint8_t& type_b);
// Every device with that hardware ID and fixed resources.
void find_virtio_mmio(const uint8_t* aml, size_t bytes, information& out);
// The event device, if its interrupt and its register are constants.
void find_event_device(const uint8_t* aml, size_t bytes, information& out);

} // namespace oblako::acpi

namespace oblako::arch {

// Remembers where the RSDP is (0: there is no ACPI). The tables are read on first need.
void acpi_start(uint64_t rsdp);
// Like acpi_start() for entry points that are not told: the firmware area is searched on first
// need.
void acpi_start_unknown();
// The machine's tables, or nullptr if it has none. Context: thread or interrupts off.
const acpi::information* acpi_information();
// An ISA interrupt's global system interrupt and its mode, overrides applied.
acpi::interrupt_override resolve_isa_irq(uint8_t irq);

} // namespace oblako::arch
