// The machine's ACPI tables, read when somebody first asks (power-off, interrupt routing), so that
// an image that ends without needing them never does.
#include "arch/x64/acpi.hh"
#include "arch/x64/image_tables.hh"
#include "arch/x64/paging.hh"
#include "core/mem/frames.hh"
#include "core/mem/kernel_map.hh"

namespace oblako::arch {

namespace {

// Tables lie at the end of RAM, where the direct map usually reaches already, and the first of them
// below the image; the direct map is cached, and they are read byte by byte. Otherwise they are
// mapped like a device.
class machine_memory final : public acpi::physical_memory {
public:
  const uint8_t* at(uint64_t address, size_t bytes) override {
    if (address >= uint64_t{1} << 46)
      return nullptr;
    map_beside_image(address, address + bytes);
    if (in_direct_map(address, bytes))
      return static_cast<const uint8_t*>(mem::to_virtual(phys_addr{address}));
    auto mapped = mem::map_device(phys_addr{address}, bytes);
    return mapped.ok() ? const_cast<const uint8_t*>(static_cast<volatile uint8_t*>(*mapped))
                       : nullptr;
  }

private:
  static bool in_direct_map(uint64_t address, size_t bytes) {
    for (uint64_t at = align_down(address, page_size); at < address + bytes; at += page_size)
      if (lookup(mem::direct_map_base + at).flags == 0)
        return false;
    return true;
  }
};

enum class acpi_status : uint8_t { absent, unread, unknown_place, valid };

constinit acpi_status status = acpi_status::absent;
constinit uint64_t rsdp_address = 0;
constinit acpi::information tables{};

} // namespace

void acpi_start(uint64_t rsdp) {
  rsdp_address = rsdp;
  status = rsdp ? acpi_status::unread : acpi_status::absent;
}

void acpi_start_unknown() {
  status = acpi_status::unknown_place;
}

const acpi::information* acpi_information() {
  if (status == acpi_status::valid)
    return &tables;
  if (status == acpi_status::absent)
    return nullptr;
  machine_memory memory;
  if (status == acpi_status::unknown_place)
    rsdp_address = acpi::scan_for_rsdp(memory);
  if (!rsdp_address || !acpi::parse(memory, rsdp_address, tables)) {
    status = acpi_status::absent;
    return nullptr;
  }
  status = acpi_status::valid;
  return &tables;
}

} // namespace oblako::arch
