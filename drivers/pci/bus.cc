// Configuration mechanism 1 and the scan.
// Spec: PCI Local Bus 3.0, 3.2.2.3.2 (mechanism 1), 6.8.2 (MSI-X).
#include "drivers/pci/bus.hh"
#include "arch/x64/cpu.hh"
#include "core/log/log.hh"
#include "core/mem/kernel_map.hh"
#include "core/sched/spinlock.hh"

namespace oblako::pci {

namespace {

constexpr uint16_t port_address = 0xcf8, port_data = 0xcfc;
constexpr uint32_t address_enable = 1u << 31;

// The address and data ports are one pair for all functions.
constinit sched::spinlock config_lock{sched::lock_rank::device};

uint32_t config_address(const function& f, uint8_t offset) {
  return address_enable | uint32_t{f.bus()} << 16 | uint32_t{f.device()} << 11 |
         uint32_t{f.number()} << 8 | (offset & 0xfc);
}

// A host bridge keeps what is written to the address port; an empty port reads all ones.
bool mechanism_present() {
  arch::out32(port_address, address_enable);
  return arch::in32(port_address) == address_enable;
}

struct scan {
  void (*visit)(const function&, void*);
  void* argument;
  uint64_t seen[4]{}; // buses, so that a bridge pointing back ends there
};

void scan_bus(scan& s, uint8_t bus);

void scan_function(scan& s, const function& f) {
  constexpr uint8_t class_bridge = 6, subclass_pci = 4;
  if (f.read8(field::class_code) == class_bridge && f.read8(field::subclass) == subclass_pci) {
    const uint8_t behind = f.read8(field::secondary_bus);
    if (behind == 0)
      return log::warning("pci %02x:%02x.%u: a bridge the firmware has not set up", f.bus(),
                          f.device(), f.number());
    return scan_bus(s, behind);
  }
  s.visit(f, s.argument);
}

void scan_bus(scan& s, uint8_t bus) {
  uint64_t& word = s.seen[bus / 64];
  const uint64_t bit = uint64_t{1} << bus % 64;
  if (word & bit)
    return;
  word |= bit;
  for (uint8_t device = 0; device < 32; ++device) {
    const function first(bus, device, 0);
    if (first.read16(field::vendor) == 0xffff)
      continue;
    scan_function(s, first);
    if (!(first.read8(field::header_type) & 0x80)) // single function
      continue;
    for (uint8_t n = 1; n < 8; ++n)
      if (const function f(bus, device, n); f.read16(field::vendor) != 0xffff)
        scan_function(s, f);
  }
}

// The part of the 32-bit hole that is device space on every PC machine: above all RAM and the
// memory-mapped configuration space, below the interrupt controllers.
constexpr uint64_t window_start = 0xe0000000, window_end = 0xfe000000;

// Lowest place of that size which no assigned BAR overlaps.
struct placement {
  uint64_t address, bytes;
  bool moved;
};

void avoid_bars_of(const function& f, void* argument) {
  auto& p = *static_cast<placement*>(argument);
  for (unsigned i = 0; i < 6; ++i) {
    auto bar = read_bar(f, i);
    if (!bar.ok())
      continue;
    if (bar->address && p.address < bar->address + bar->bytes &&
        bar->address < p.address + p.bytes) {
      p.address = align_up(bar->address + bar->bytes, p.bytes);
      p.moved = true;
    }
    i += bar->is_64bit;
  }
}

result<uint64_t> find_place(uint64_t bytes) {
  const uint64_t unit = max_of(bytes, uint64_t{page_size});
  placement p{align_up(window_start, unit), unit, true};
  while (p.moved) {
    p.moved = false;
    for_each_function(avoid_bars_of, &p);
    if (p.address + p.bytes > window_end)
      return error::nxio;
  }
  return p.address;
}

} // namespace

uint32_t function::read32(uint8_t offset) const {
  sched::spinlock_guard guard(config_lock);
  arch::out32(port_address, config_address(*this, offset));
  return arch::in32(port_data);
}

void function::write32(uint8_t offset, uint32_t value) const {
  sched::spinlock_guard guard(config_lock);
  arch::out32(port_address, config_address(*this, offset));
  arch::out32(port_data, value);
}

void for_each_function(void (*f)(const function&, void*), void* argument) {
  if (!mechanism_present())
    return;
  scan s{f, argument};
  scan_bus(s, 0);
}

void enable(const function& f) {
  const uint16_t command = f.read16(field::command);
  f.write32(field::command,
            command | uint32_t{command_memory | command_bus_master | command_no_intx});
}

result<memory_bar> usable_bar(const function& f, unsigned index) {
  memory_bar bar = TRY(read_bar(f, index));
  if (bar.address)
    return bar;
  if (f.bus() != 0) {
    log::error("pci %02x:%02x.%u: BAR %u has no address, and is behind a bridge", f.bus(),
               f.device(), f.number(), index);
    return error::nxio;
  }
  bar.address = TRY(find_place(bar.bytes));
  write_bar(f, index, bar.address, bar.is_64bit);
  return bar;
}

result<void> msix::start(const function& f) {
  constexpr uint32_t enable_bit = 1u << 31;
  constexpr uint32_t mask_all_bit = 1u << 30;
  constexpr uint32_t entry_bytes = 16;
  const uint8_t at = find_capability(f, capability_msix, [](uint8_t) { return true; });
  if (!at)
    return error::nxio;
  const uint32_t control = f.read32(at);
  const auto entries = static_cast<uint16_t>((control >> 16 & 0x7ff) + 1);
  const uint32_t where = f.read32(static_cast<uint8_t>(at + 4));
  const uint32_t offset = where & ~7u;
  const memory_bar bar = TRY(usable_bar(f, where & 7));
  if (offset > bar.bytes || entries * entry_bytes > bar.bytes - offset)
    return error::nxio;
  table_ = static_cast<volatile uint32_t*>(
      TRY(mem::map_device(phys_addr{bar.address + offset}, entries * entry_bytes)));
  entries_ = entries;
  // Every entry comes out of reset masked (6.8.2.9).
  f.write32(at, (control & ~mask_all_bit) | enable_bit);
  return {};
}

void msix::connect(uint16_t entry, uint8_t vector) {
  const arch::msi_message m = arch::message_for(vector);
  volatile uint32_t* e = table_ + entry * 4;
  e[0] = static_cast<uint32_t>(m.address);
  e[1] = static_cast<uint32_t>(m.address >> 32);
  e[2] = m.data;
  e[3] = 0; // unmasks
}

} // namespace oblako::pci
