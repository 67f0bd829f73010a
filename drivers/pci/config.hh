// PCI configuration space of one function, and what we read from it: capabilities, BARs. Pure
// logic on top of 32-bit reads and writes, so that it is tested on the host against garbage.
// Spec: PCI Local Bus 3.0, chapter 6.
#pragma once

#include "core/base/result.hh"
#include "core/base/types.hh"
#include <stdint.h>

namespace oblako::pci {

class config_space {
public:
  // `offset` is a multiple of 4 below 256.
  virtual uint32_t read32(uint8_t offset) const = 0;
  virtual void write32(uint8_t offset, uint32_t value) const = 0;

  // Any offset whose field lies within one dword; others give 0.
  uint16_t read16(uint32_t offset) const;
  uint8_t read8(uint32_t offset) const;

protected:
  ~config_space() = default;
};

namespace field {
constexpr uint8_t vendor = 0x00;
constexpr uint8_t device = 0x02;
constexpr uint8_t command = 0x04;
constexpr uint8_t status = 0x06;
constexpr uint8_t class_code = 0x0b;
constexpr uint8_t subclass = 0x0a;
constexpr uint8_t header_type = 0x0e;
constexpr uint8_t bar0 = 0x10;
constexpr uint8_t secondary_bus = 0x19;
constexpr uint8_t subsystem = 0x2e;
constexpr uint8_t capabilities = 0x34;
} // namespace field

constexpr uint16_t command_io = 1;
constexpr uint16_t command_memory = 2;
constexpr uint16_t command_bus_master = 4;
constexpr uint16_t command_no_intx = 1u << 10;

constexpr uint8_t capability_vendor = 0x09;
constexpr uint8_t capability_msix = 0x11;

// Calls f(offset) for every capability of that id, in order, until it returns true; returns that
// offset, or 0. A list that loops or leaves the space ends.
template <class F>
uint8_t find_capability(const config_space& c, uint8_t id, F f) {
  constexpr uint16_t has_list = 1u << 4;
  if (!(c.read16(field::status) & has_list))
    return 0;
  uint8_t at = c.read8(field::capabilities) & 0xfc;
  // 48 is all that fit into 192 bytes.
  for (unsigned steps = 0; at >= 0x40 && steps < 48; ++steps) {
    if (c.read8(at) == id && f(at))
      return at;
    at = c.read8(at + 1u) & 0xfc;
  }
  return 0;
}

// A memory BAR. `address` 0: the firmware assigned none.
struct memory_bar {
  uint64_t address;
  uint64_t bytes;
  bool is_64bit;
};

// Finds position and size. Decoding is off while the size is asked for; the command register is
// restored. Errors: nxio (no such BAR, an I/O BAR, or nonsense).
result<memory_bar> read_bar(const config_space& c, unsigned index);
void write_bar(const config_space& c, unsigned index, uint64_t address, bool is_64bit);

} // namespace oblako::pci
