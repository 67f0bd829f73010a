// IOAPICs: routing of global system interrupts. From the MADT where there is ACPI; without, the one
// at the traditional address. Inputs nobody asked for stay as the reset left them: masked (3.2.4).
// Spec: Intel 82093AA, 3.2.
#include "arch/x64/acpi.hh"
#include "arch/x64/interrupts.hh"
#include "arch/x64/percpu.hh"
#include "core/base/needs.hh"
#include "core/mem/kernel_map.hh"
#include "core/sched/spinlock.hh"

namespace oblako::arch {

namespace {

// Two words of MMIO: an index, and the register it selects.
struct ioapic {
  volatile uint32_t* registers;
  uint32_t first_gsi;
  uint32_t inputs;
};

constexpr uint64_t default_address = 0xfec00000;
constexpr uint32_t register_version = 1;
constexpr uint32_t register_redirection = 0x10; // two words for each input

constexpr uint32_t entry_active_low = 1u << 13;
constexpr uint32_t entry_level = 1u << 15;

// Guards the table and the index register of every IOAPIC.
constinit sched::spinlock ioapic_lock{sched::lock_rank::device};
constinit ioapic ioapics[acpi::max_ioapics]{};
constinit size_t ioapic_count = 0;

uint32_t read(const ioapic& a, uint32_t index) {
  a.registers[0] = index;
  return a.registers[4];
}

void write(const ioapic& a, uint32_t index, uint32_t value) {
  a.registers[0] = index;
  a.registers[4] = value;
}

result<ioapic> map(uint64_t address, uint32_t first_gsi) {
  ioapic a{};
  a.registers = static_cast<volatile uint32_t*>(TRY(mem::map_device(phys_addr{address}, 32)));
  a.first_gsi = first_gsi;
  return a;
}

// Maps them all, then publishes them together. The lock is not held meanwhile: mapping takes
// locks of its own. Two threads that come here at once find the same.
result<void> find_ioapics() {
  ioapic found[acpi::max_ioapics]{};
  size_t count = 0;
  OBLAKO_NEEDS(oblako_acpi_interrupts);
  const acpi::information* info = acpi_information();
  if (!info || info->ioapic_count == 0)
    found[count++] = TRY(map(default_address, 0));
  else
    for (; count < info->ioapic_count; ++count)
      found[count] = TRY(map(info->ioapics[count].address, info->ioapics[count].first_gsi));

  sched::spinlock_guard guard(ioapic_lock);
  if (ioapic_count != 0)
    return {};
  for (size_t i = 0; i < count; ++i) {
    ioapic& a = ioapics[i];
    a = found[i];
    a.inputs = (read(a, register_version) >> 16 & 0xff) + 1;
  }
  // release: a reader without the lock that sees the count sees the table.
  __atomic_store_n(&ioapic_count, count, __ATOMIC_RELEASE);
  return {};
}

} // namespace

result<void> route_gsi(uint32_t gsi, uint8_t vector, trigger t, polarity p) {
  if (__atomic_load_n(&ioapic_count, __ATOMIC_ACQUIRE) == 0) // pairs with find_ioapics
    TRY(find_ioapics());
  sched::spinlock_guard guard(ioapic_lock);
  for (size_t i = 0; i < ioapic_count; ++i) {
    const ioapic& a = ioapics[i];
    if (gsi < a.first_gsi || gsi - a.first_gsi >= a.inputs)
      continue;
    const uint32_t entry = register_redirection + 2 * (gsi - a.first_gsi);
    uint32_t low = vector; // fixed delivery, physical destination
    if (p == polarity::low)
      low |= entry_active_low;
    if (t == trigger::level)
      low |= entry_level;
    // Destination first: the low half unmasks.
    write(a, entry + 1, (this_cpu().apic_id & 0xff) << 24);
    write(a, entry, low);
    return {};
  }
  return error::nxio;
}

} // namespace oblako::arch
