// The PCI bus: configuration mechanism 1, the scan, BARs mapped, MSI-X vectors.
#pragma once

#include "arch/x64/interrupts.hh"
#include "core/mem/frames.hh"
#include "drivers/pci/config.hh"

namespace oblako::pci {

// One function of one device.
class function final : public config_space {
public:
  function() = default;
  function(uint8_t bus, uint8_t device, uint8_t number)
      : bus_(bus), device_(device), number_(number) {}
  uint32_t read32(uint8_t offset) const override;
  void write32(uint8_t offset, uint32_t value) const override;

  uint8_t bus() const { return bus_; }
  uint8_t device() const { return device_; }
  uint8_t number() const { return number_; }

private:
  uint8_t bus_ = 0, device_ = 0, number_ = 0;
};

// Calls f for every function that is there, behind bridges as well. Nothing on a machine without
// PCI. Context: boot thread.
void for_each_function(void (*f)(const function&, void*), void* argument);

// Turns on memory decoding and bus mastering, turns off the INTx line.
void enable(const function& f);

// Address and size of a memory BAR; one the firmware left without an address gets one here, on
// bus 0. Errors: nxio (no such BAR, or no room).
result<memory_bar> usable_bar(const function& f, unsigned index);

// MSI-X of one function. Vectors are masked until connected.
class msix {
public:
  // Errors: nxio (the function has none), nomem.
  result<void> start(const function& f);
  uint16_t entries() const { return entries_; }
  void connect(uint16_t entry, uint8_t vector);

private:
  volatile uint32_t* table_ = nullptr;
  uint16_t entries_ = 0;
};

} // namespace oblako::pci
