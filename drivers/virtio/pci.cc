// virtio over PCI, modern registers only; transitional devices are driven through them as well.
// Interrupts are MSI-X, one vector a source as far as the table goes, then shared.
// Spec: virtio 1.1, 4.1.
#include "core/base/mmio.hh"
#include "core/log/log.hh"
#include "core/mem/heap.hh"
#include "core/mem/kernel_map.hh"
#include "drivers/pci/bus.hh"
#include "drivers/virtio/pci_capabilities.hh"
#include "drivers/virtio/transport.hh"

namespace oblako::virtio {

namespace {

namespace reg { // struct virtio_pci_common_cfg, 4.1.4.3
constexpr mmio_register<uint32_t> device_feature_select{0};
constexpr mmio_register<uint32_t> device_feature{4};
constexpr mmio_register<uint32_t> driver_feature_select{8};
constexpr mmio_register<uint32_t> driver_feature{12};
constexpr mmio_register<uint16_t> config_msix_vector{16};
constexpr mmio_register<uint16_t> queue_count{18};
constexpr mmio_register<uint8_t> status{20};
constexpr mmio_register<uint8_t> config_generation{21};
constexpr mmio_register<uint16_t> queue_select{22};
constexpr mmio_register<uint16_t> queue_size{24};
constexpr mmio_register<uint16_t> queue_msix_vector{26};
constexpr mmio_register<uint16_t> queue_enable{28};
constexpr mmio_register<uint16_t> queue_notify_offset{30};
constexpr mmio_register<uint32_t> queue_descriptors{32}; // each with its high half at + 4
constexpr mmio_register<uint32_t> queue_driver{40};
constexpr mmio_register<uint32_t> queue_device{48};
} // namespace reg

constexpr uint16_t no_vector = 0xffff;

class pci_transport final : public transport {
public:
  pci_transport(const pci::function& f, spec::device_type type) : function_(f), type_(type) {
    log::format(name_, sizeof name_, "virtio-pci %02x:%02x.%u", f.bus(), f.device(), f.number());
  }

  // Maps the register blocks. Errors: nodev (not a modern device), nxio, nomem.
  result<void> start() {
    const pci_regions regions = TRY(find_regions(function_));
    pci::enable(function_);
    common_ = mmio_space(TRY(map(regions.common)));
    notify_ = mmio_space(TRY(map(regions.notify)));
    notify_bytes_ = regions.notify.length;
    notify_multiplier_ = regions.notify_multiplier;
    if (regions.device.length) {
      config_ = mmio_space(TRY(map(regions.device)));
      config_bytes_ = regions.device.length;
    }
    return {};
  }

  spec::device_type type() const override { return type_; }
  const char* name() const override { return name_; }

  uint64_t offered_features() override {
    common_.store(reg::device_feature_select, 1u);
    const uint64_t high = common_.load(reg::device_feature);
    common_.store(reg::device_feature_select, 0u);
    return high << 32 | common_.load(reg::device_feature);
  }
  void accept_features(uint64_t features) override {
    common_.store(reg::driver_feature_select, 1u);
    common_.store(reg::driver_feature, static_cast<uint32_t>(features >> 32));
    common_.store(reg::driver_feature_select, 0u);
    common_.store(reg::driver_feature, static_cast<uint32_t>(features));
  }
  uint8_t status() override { return common_.load(reg::status); }
  void set_status(uint8_t status) override { common_.store(reg::status, status); }

  uint16_t queue_capacity(uint16_t index) override {
    if (index >= common_.load(reg::queue_count))
      return 0;
    common_.store(reg::queue_select, index);
    return min_of(common_.load(reg::queue_size), uint16_t{spec::max_queue_size});
  }

  result<doorbell> start_queue(uint16_t index, uint16_t size,
                               const ring_addresses& rings) override {
    common_.store(reg::queue_select, index);
    common_.store(reg::queue_size, size);
    const uint16_t entry = entry_of(index);
    common_.store(reg::queue_msix_vector, entry);
    if (common_.load(reg::queue_msix_vector) != entry)
      return error::io; // 4.1.5.1.2.2: the device could not map the vector
    store_address(reg::queue_descriptors, rings.descriptors);
    store_address(reg::queue_driver, rings.available);
    store_address(reg::queue_device, rings.used);
    const uint64_t at = uint64_t{common_.load(reg::queue_notify_offset)} * notify_multiplier_;
    if (at + 2 > notify_bytes_)
      return error::io;
    common_.store(reg::queue_enable, uint16_t{1});
    return doorbell{notify_.base() + at, index, false};
  }

  result<void> connect_queue(uint16_t index, arch::interrupt_handler handler,
                             void* context) override {
    auto entry = connect(index, handler, context);
    return entry.ok() ? result<void>{} : entry.code();
  }
  result<void> connect_config(arch::interrupt_handler handler, void* context) override {
    config_entry_ = TRY(connect(config_source, handler, context));
    return reconnect_config();
  }
  result<void> reconnect_config() override {
    common_.store(reg::config_msix_vector, config_entry_);
    return common_.load(reg::config_msix_vector) == config_entry_ ? result<void>{} : error::io;
  }

  uint8_t read_config(uint32_t offset) override {
    return offset < config_bytes_ ? config_.load(mmio_register<uint8_t>{offset}) : uint8_t{0};
  }
  uint32_t config_generation() override { return common_.load(reg::config_generation); }

private:
  static constexpr size_t max_sources = 8;
  static constexpr uint16_t config_source = 0xfffe;
  uint16_t config_entry_ = 0; // of the interrupt table

  // Somebody who wants to hear of an interrupt, and the table entry it comes through.
  struct source {
    arch::interrupt_handler handler;
    void* context;
    uint16_t queue;
    uint16_t entry;
  };
  // What the vector's handler gets: which entry of which device.
  struct entry_context {
    pci_transport* owner;
    uint16_t entry;
  };

  result<volatile void*> map(const pci_region& r) {
    // Usually all in one BAR; asking for its size is a dozen exits.
    if (bar_.bytes == 0 || bar_index_ != r.bar) {
      bar_ = TRY(pci::usable_bar(function_, r.bar));
      bar_index_ = r.bar;
    }
    if (r.offset > bar_.bytes || r.length > bar_.bytes - r.offset)
      return error::nxio;
    return mem::map_device(phys_addr{bar_.address + r.offset}, r.length);
  }

  void store_address(mmio_register<uint32_t> low, device_addr address) {
    common_.store(low, static_cast<uint32_t>(raw(address)));
    common_.store(mmio_register<uint32_t>{low.offset + 4},
                  static_cast<uint32_t>(raw(address) >> 32));
  }

  // Gives the source its own entry, or the last one together with others.
  result<uint16_t> connect(uint16_t queue, arch::interrupt_handler handler, void* context) {
    if (source_count_ == max_sources)
      return error::nospc;
    if (msix_.entries() == 0) {
      auto started = msix_.start(function_);
      if (!started.ok()) {
        log::error("%s: no MSI-X, which this kernel needs", name_);
        return started.code();
      }
    }
    const uint16_t limit = min_of(msix_.entries(), uint16_t{max_sources});
    const bool shared = entry_count_ == limit;
    const auto entry = static_cast<uint16_t>(shared ? limit - 1 : entry_count_);
    if (!shared) {
      entries_[entry] = {this, entry};
      msix_.connect(entry, TRY(arch::allocate_vector(on_interrupt, &entries_[entry])));
      ++entry_count_;
    }
    sources_[source_count_++] = {handler, context, queue, entry};
    return entry;
  }

  uint16_t entry_of(uint16_t queue) const {
    for (size_t i = 0; i < source_count_; ++i)
      if (sources_[i].queue == queue)
        return sources_[i].entry;
    return no_vector;
  }

  static void on_interrupt(void* context) {
    const auto& e = *static_cast<entry_context*>(context);
    for (size_t i = 0; i < e.owner->source_count_; ++i)
      if (const source& s = e.owner->sources_[i]; s.entry == e.entry)
        s.handler(s.context);
  }

  pci::function function_;
  spec::device_type type_;
  pci::memory_bar bar_{};
  uint8_t bar_index_ = 0;
  mmio_space common_, notify_, config_;
  uint32_t notify_bytes_ = 0;
  uint32_t notify_multiplier_ = 0;
  uint32_t config_bytes_ = 0;
  pci::msix msix_;
  source sources_[max_sources];
  size_t source_count_ = 0;
  entry_context entries_[max_sources];
  uint16_t entry_count_ = 0;
  char name_[24];
};

void look_at(const pci::function& f, void*) {
  const uint32_t type = virtio_type(f);
  if (type == 0)
    return;
  auto made = mem::make<pci_transport>(f, static_cast<spec::device_type>(type));
  if (!made.ok())
    return log::error("virtio-pci: out of memory");
  auto started = (*made)->start();
  if (started.code() == error::nodev)
    return log::error("%s: a legacy device; virtio 1.0 is needed (QEMU: without "
                      "disable-modern=on)",
                      (*made)->name());
  if (!started.ok())
    return log::error("%s: its registers cannot be mapped (error %d)", (*made)->name(),
                      static_cast<int>(started.code()));
  add_device(*made->release());
}

} // namespace

void find_pci_devices() {
  pci::for_each_function(look_at, nullptr);
}

} // namespace oblako::virtio
