// Reading one function's configuration space.
#include "drivers/pci/config.hh"

namespace oblako::pci {

uint16_t config_space::read16(uint32_t offset) const {
  if (offset > 254 || (offset & 1))
    return 0;
  return static_cast<uint16_t>(read32(offset & 0xfc) >> 8 * (offset & 2));
}

uint8_t config_space::read8(uint32_t offset) const {
  if (offset > 255)
    return 0;
  return static_cast<uint8_t>(read32(offset & 0xfc) >> 8 * (offset & 3));
}

result<memory_bar> read_bar(const config_space& c, unsigned index) {
  constexpr uint32_t io_space = 1, type_mask = 6, type_64bit = 4, flag_bits = 0xf;
  if (index > 5)
    return error::nxio;
  const auto at = static_cast<uint8_t>(field::bar0 + 4 * index);
  const uint32_t low = c.read32(at);
  if (low & io_space)
    return error::nxio;
  const bool is_64bit = (low & type_mask) == type_64bit;
  if (is_64bit && index == 5)
    return error::nxio;
  const auto at_high = static_cast<uint8_t>(at + 4);
  const uint32_t high = is_64bit ? c.read32(at_high) : 0;

  // The status half of the dword clears what is written as 1: 0 leaves it alone.
  const uint16_t command = c.read16(field::command);
  c.write32(field::command, command & ~uint32_t{command_memory | command_io});
  c.write32(at, ~0u);
  uint64_t mask = 0xffffffff00000000 | (c.read32(at) & ~flag_bits);
  c.write32(at, low);
  if (is_64bit) {
    c.write32(at_high, ~0u);
    mask = uint64_t{c.read32(at_high)} << 32 | (mask & 0xffffffff);
    c.write32(at_high, high);
  }
  c.write32(field::command, command);

  const uint64_t bytes = ~mask + 1; // lowest writable bit, if the device answered with a mask
  if ((mask & 0xffffffff) == 0 && !is_64bit)
    return error::nxio;
  if (bytes == 0 || (bytes & (bytes - 1)))
    return error::nxio;
  return memory_bar{(uint64_t{high} << 32 | (low & ~flag_bits)) & mask, bytes, is_64bit};
}

void write_bar(const config_space& c, unsigned index, uint64_t address, bool is_64bit) {
  const auto at = static_cast<uint8_t>(field::bar0 + 4 * index);
  const uint16_t command = c.read16(field::command);
  c.write32(field::command, command & ~uint32_t{command_memory});
  c.write32(at, static_cast<uint32_t>(address));
  if (is_64bit)
    c.write32(static_cast<uint8_t>(at + 4), static_cast<uint32_t>(address >> 32));
  c.write32(field::command, command);
}

} // namespace oblako::pci
