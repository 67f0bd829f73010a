// ACPI table parser. Pure: it sees memory only through physical_memory and checks every length.
#include "arch/x64/acpi.hh"
#include "arch/x64/acpi_view.hh"
#include "core/base/types.hh"

// Linked by who needs what they find (acpi.hh).
extern "C" {
[[gnu::weak]] void oblako_acpi_interrupts(const uint8_t*, size_t, oblako::acpi::information*);
[[gnu::weak]] void oblako_acpi_virtio_mmio(const uint8_t*, size_t, oblako::acpi::information*);
[[gnu::weak]] void oblako_acpi_event_device(const uint8_t*, size_t, oblako::acpi::information*);
}

namespace oblako::acpi {

namespace {

constexpr size_t header_bytes = 36; // System Description Table Header, 5.2.6
constexpr uint32_t max_table_bytes = 1u << 20;

uint8_t sum(const uint8_t* data, size_t bytes) {
  uint8_t total = 0;
  for (size_t i = 0; i < bytes; ++i)
    total = static_cast<uint8_t>(total + data[i]);
  return total;
}

// A whole table with a right checksum, or an empty view.
view table_at(physical_memory& memory, uint64_t address) {
  const uint8_t* header = address ? memory.at(address, header_bytes) : nullptr;
  if (!header)
    return {};
  const uint32_t length = view(header, header_bytes).get<uint32_t>(4);
  if (length < header_bytes || length > max_table_bytes)
    return {};
  const uint8_t* all = memory.at(address, length);
  if (!all || sum(all, length) != 0)
    return {};
  return {all, length};
}

struct root {
  uint64_t address = 0;
  size_t entry_bytes = 0; // 4: RSDT, 8: XSDT
};

bool valid_rsdp(const uint8_t* p) {
  const char text[] = "RSD PTR ";
  for (size_t i = 0; i < 8; ++i)
    if (p[i] != static_cast<uint8_t>(text[i]))
      return false;
  return sum(p, 20) == 0;
}

root find_root(physical_memory& memory, uint64_t rsdp) {
  const uint8_t* first = memory.at(rsdp, 20);
  if (!first || !valid_rsdp(first))
    return {};
  const view v1(first, 20);
  if (v1.get<uint8_t>(15) >= 2) {
    const uint8_t* extended = memory.at(rsdp, 36);
    const uint64_t xsdt = extended ? view(extended, 36).get<uint64_t>(24) : 0;
    if (xsdt && sum(extended, 36) == 0)
      return {xsdt, 8};
  }
  return {v1.get<uint32_t>(16), 4};
}

// The FADT has each block twice: a 32-bit port number, and in later revisions a Generic Address
// Structure that wins if it is filled in.
io_register fadt_register(const view& fadt, size_t port_offset, size_t gas_offset) {
  const uint8_t space = fadt.get<uint8_t>(gas_offset);
  const uint64_t extended = fadt.get<uint64_t>(gas_offset + 4);
  if (extended && space <= 1)
    return {static_cast<address_space>(space), extended};
  return {address_space::port, port_offset ? fadt.get<uint32_t>(port_offset) : 0};
}

// Fixed ACPI Description Table, 5.2.9.
void read_fadt(physical_memory& memory, const view& fadt, information& out) {
  constexpr uint32_t flag_reset_register = 1u << 10;
  constexpr uint32_t flag_reduced_hardware = 1u << 20;
  const uint32_t flags = fadt.get<uint32_t>(112);
  out.has_fadt = true;
  out.reduced_hardware = flags & flag_reduced_hardware;
  out.sci_irq = fadt.get<uint16_t>(46);
  out.smi_command_port = fadt.get<uint16_t>(48);
  out.acpi_enable = fadt.get<uint8_t>(52);
  out.pm1a_event = fadt_register(fadt, 56, 148);
  out.pm1b_event = fadt_register(fadt, 60, 160);
  out.pm1a_control = fadt_register(fadt, 64, 172);
  out.pm1b_control = fadt_register(fadt, 68, 184);
  out.pm1_event_bytes = fadt.get<uint8_t>(88);
  if (flags & flag_reset_register) {
    out.reset = fadt_register(fadt, 0, 116);
    out.reset_value = fadt.get<uint8_t>(128);
  }
  out.sleep_control = fadt_register(fadt, 0, 244);

  const uint64_t x_dsdt = fadt.get<uint64_t>(140);
  const view dsdt = table_at(memory, x_dsdt ? x_dsdt : fadt.get<uint32_t>(40));
  if (dsdt.size() <= header_bytes)
    return;
  const uint8_t* aml = dsdt.data() + header_bytes;
  const size_t bytes = dsdt.size() - header_bytes;
  find_s5(aml, bytes, out.s5_type_a, out.s5_type_b);
  if (oblako_acpi_virtio_mmio)
    oblako_acpi_virtio_mmio(aml, bytes, &out);
  if (oblako_acpi_event_device && out.reduced_hardware)
    oblako_acpi_event_device(aml, bytes, &out);
}

// One integer of a package: ZeroOp, OneOp, OnesOp, or a byte/word/dword constant (20.2.3).
bool read_integer(const view& aml, size_t& offset, uint64_t& value) {
  if (offset >= aml.size())
    return false;
  const uint8_t op = aml.get<uint8_t>(offset);
  size_t operand = 0;
  switch (op) {
  case 0x00:
    value = 0;
    break;
  case 0x01:
    value = 1;
    break;
  case 0xff:
    value = ~uint64_t{0};
    break;
  case 0x0a:
    operand = 1;
    value = aml.get<uint8_t>(offset + 1);
    break;
  case 0x0b:
    operand = 2;
    value = aml.get<uint16_t>(offset + 1);
    break;
  case 0x0c:
    operand = 4;
    value = aml.get<uint32_t>(offset + 1);
    break;
  default:
    return false;
  }
  if (operand > aml.size() - offset - 1)
    return false;
  offset += 1 + operand;
  return true;
}

} // namespace

bool find_s5(const uint8_t* data, size_t bytes, uint8_t& type_a, uint8_t& type_b) {
  constexpr uint8_t name_op = 0x08, root_char = '\\', package_op = 0x12;
  const view aml(data, bytes);
  for (size_t at = 1; at + 4 < bytes; ++at) {
    if (data[at] != '_' || aml.get<uint32_t>(at) != signature("_S5_"))
      continue;
    const bool named = data[at - 1] == name_op ||
                       (at >= 2 && data[at - 1] == root_char && data[at - 2] == name_op);
    if (!named || data[at + 4] != package_op)
      continue;
    // PkgLength: the top two bits of its first byte say how many more bytes it has (20.2.4). Then
    // the element count.
    size_t offset = at + 5;
    offset += 1 + (aml.get<uint8_t>(offset) >> 6);
    const uint8_t elements = aml.get<uint8_t>(offset++);
    uint64_t a = 0, b = 0;
    if (elements == 0 || !read_integer(aml, offset, a))
      continue;
    if (elements > 1 && !read_integer(aml, offset, b))
      continue;
    type_a = a & 7;
    type_b = b & 7;
    return true;
  }
  return false;
}

bool parse(physical_memory& memory, uint64_t rsdp, information& out) {
  out = {};
  const root r = find_root(memory, rsdp);
  const view table = table_at(memory, r.address);
  if (table.empty() ||
      table.get<uint32_t>(0) != (r.entry_bytes == 8 ? signature("XSDT") : signature("RSDT")))
    return false;
  for (size_t at = header_bytes; at + r.entry_bytes <= table.size(); at += r.entry_bytes) {
    const uint64_t address = r.entry_bytes == 8 ? table.get<uint64_t>(at) : table.get<uint32_t>(at);
    // The signature first: tables nobody wants are not summed.
    const uint8_t* start = address ? memory.at(address, header_bytes) : nullptr;
    if (!start)
      continue;
    const uint32_t name = view(start, header_bytes).get<uint32_t>(0);
    if (name != signature("FACP") && name != signature("APIC"))
      continue;
    const view wanted = table_at(memory, address);
    if (wanted.empty())
      continue;
    if (name == signature("FACP") && !out.has_fadt)
      read_fadt(memory, wanted, out);
    else if (name == signature("APIC") && out.ioapic_count == 0 && oblako_acpi_interrupts)
      oblako_acpi_interrupts(wanted.data(), wanted.size(), &out);
  }
  return true;
}

uint64_t scan_for_rsdp(physical_memory& memory) {
  constexpr uint64_t start = 0xe0000, bytes = 0x20000;
  const uint8_t* area = memory.at(start, bytes);
  if (!area)
    return 0;
  for (uint64_t at = 0; at + 36 <= bytes; at += 16)
    if (area[at] == 'R' && valid_rsdp(area + at))
      return start + at;
  return 0;
}

} // namespace oblako::acpi
