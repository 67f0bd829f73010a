// virtio over MMIO, version 2 ("modern") register layout. One interrupt line for everything.
// Spec: virtio 1.1, 4.2.
#include "core/base/mmio.hh"
#include "arch/x64/acpi.hh"
#include "core/base/needs.hh"
#include "core/boot/options.hh"
#include "core/log/log.hh"
#include "core/mem/heap.hh"
#include "core/mem/kernel_map.hh"
#include "drivers/virtio/transport.hh"

namespace oblako::virtio {

namespace {

namespace reg { // 4.2.2
constexpr mmio_register<uint32_t> magic{0x000};
constexpr mmio_register<uint32_t> version{0x004};
constexpr mmio_register<uint32_t> device_id{0x008};
constexpr mmio_register<uint32_t> device_features{0x010};
constexpr mmio_register<uint32_t> device_features_select{0x014};
constexpr mmio_register<uint32_t> driver_features{0x020};
constexpr mmio_register<uint32_t> driver_features_select{0x024};
constexpr mmio_register<uint32_t> queue_select{0x030};
constexpr mmio_register<uint32_t> queue_size_max{0x034};
constexpr mmio_register<uint32_t> queue_size{0x038};
constexpr mmio_register<uint32_t> queue_ready{0x044};
constexpr mmio_register<uint32_t> queue_notify{0x050};
constexpr mmio_register<uint32_t> interrupt_status{0x060};
constexpr mmio_register<uint32_t> interrupt_acknowledge{0x064};
constexpr mmio_register<uint32_t> status{0x070};
constexpr mmio_register<uint32_t> queue_descriptors{0x080}; // each with its high half at + 4
constexpr mmio_register<uint32_t> queue_driver{0x090};
constexpr mmio_register<uint32_t> queue_device{0x0a0};
constexpr mmio_register<uint32_t> config_generation{0x0fc};
constexpr uint32_t config = 0x100;
} // namespace reg

constexpr uint32_t magic_value = 0x74726976; // "virt"

struct connection {
  arch::interrupt_handler handler = nullptr;
  void* context = nullptr;
};

class mmio_transport final : public transport {
public:
  mmio_transport(mmio_space space, const boot::virtio_mmio_slot& slot, spec::device_type type)
      : space_(space), gsi_(slot.irq), type_(type), config_bytes_(slot.size - reg::config) {
    log::format(name_, sizeof name_, "virtio-mmio 0x%lx", slot.address);
  }

  spec::device_type type() const override { return type_; }
  const char* name() const override { return name_; }

  uint64_t offered_features() override {
    space_.store(reg::device_features_select, 1u);
    const uint64_t high = space_.load(reg::device_features);
    space_.store(reg::device_features_select, 0u);
    return high << 32 | space_.load(reg::device_features);
  }
  void accept_features(uint64_t features) override {
    space_.store(reg::driver_features_select, 1u);
    space_.store(reg::driver_features, static_cast<uint32_t>(features >> 32));
    space_.store(reg::driver_features_select, 0u);
    space_.store(reg::driver_features, static_cast<uint32_t>(features));
  }
  uint8_t status() override { return static_cast<uint8_t>(space_.load(reg::status)); }
  void set_status(uint8_t status) override {
    if (status == 0) // a reset may change the selection
      selected_ = none_selected;
    space_.store(reg::status, uint32_t{status});
  }

  uint16_t queue_capacity(uint16_t index) override {
    select_queue(index);
    const uint32_t n = space_.load(reg::queue_size_max);
    return static_cast<uint16_t>(min_of(n, uint32_t{spec::max_queue_size}));
  }

  result<doorbell> start_queue(uint16_t index, uint16_t size,
                               const ring_addresses& rings) override {
    select_queue(index);
    if (space_.load(reg::queue_ready) != 0)
      return error::io; // 4.2.3.2: not after a reset
    space_.store(reg::queue_size, uint32_t{size});
    store_address(reg::queue_descriptors, rings.descriptors);
    store_address(reg::queue_driver, rings.available);
    store_address(reg::queue_device, rings.used);
    space_.store(reg::queue_ready, 1u);
    return doorbell{space_.base() + reg::queue_notify.offset, index, true};
  }

  result<void> connect_queue(uint16_t index, arch::interrupt_handler handler,
                             void* context) override {
    if (index >= max_queues)
      return error::nospc;
    TRY(connect_line());
    // There is one line: a driver with one handler for all its queues is called once.
    for (const connection& c : queues_)
      if (c.handler == handler && c.context == context)
        return {};
    queues_[index] = {handler, context};
    return {};
  }
  result<void> connect_config(arch::interrupt_handler handler, void* context) override {
    TRY(connect_line());
    config_ = {handler, context};
    return {};
  }
  result<void> reconnect_config() override { return {}; }

  uint8_t read_config(uint32_t offset) override {
    if (offset >= config_bytes_)
      return 0;
    return space_.load(mmio_register<uint8_t>{reg::config + offset});
  }
  uint32_t config_generation() override { return space_.load(reg::config_generation); }

private:
  static constexpr size_t max_queues = 8;
  static constexpr uint32_t none_selected = ~0u;

  void select_queue(uint32_t index) {
    if (selected_ == index)
      return;
    selected_ = index;
    space_.store(reg::queue_select, index);
  }

  void store_address(mmio_register<uint32_t> low, device_addr address) {
    space_.store(low, static_cast<uint32_t>(raw(address)));
    space_.store(mmio_register<uint32_t>{low.offset + 4},
                 static_cast<uint32_t>(raw(address) >> 32));
  }

  result<void> connect_line() {
    if (connected_)
      return {};
    const uint8_t vector = TRY(arch::allocate_vector(on_interrupt, this));
    // Edge works for every monitor: those that hold a line until the acknowledgement, and those
    // that pulse it. Nothing is lost, because the queues are looked at after the acknowledgement.
    auto routed = arch::route_gsi(gsi_, vector, arch::trigger::edge, arch::polarity::high);
    if (!routed.ok()) {
      arch::free_vector(vector);
      return routed.code();
    }
    connected_ = true;
    return {};
  }

  static void on_interrupt(void* context) {
    auto& self = *static_cast<mmio_transport*>(context);
    const uint32_t why = self.space_.load(reg::interrupt_status);
    self.space_.store(reg::interrupt_acknowledge, why);
    if (why & spec::interrupt_config)
      if (self.config_.handler)
        self.config_.handler(self.config_.context);
    if (why & spec::interrupt_queue)
      for (const connection& c : self.queues_)
        if (c.handler)
          c.handler(c.context);
  }

  mmio_space space_;
  uint32_t gsi_;
  uint32_t selected_ = none_selected; // the queue that the queue registers are for
  spec::device_type type_;
  uint32_t config_bytes_;
  bool connected_ = false;
  connection config_;
  connection queues_[max_queues];
  char name_[32];
};

// An empty slot has device number 0; one read tells, because each is an exit under KVM.
void look_at(const boot::virtio_mmio_slot& slot) {
  if (slot.size < reg::config)
    return;
  auto mapped = mem::map_device(phys_addr{slot.address}, slot.size);
  if (!mapped.ok())
    return log::error("virtio-mmio 0x%lx: no memory to map it", slot.address);
  const mmio_space space(*mapped);
  const uint32_t id = space.load(reg::device_id);
  if (id == 0 || space.load(reg::magic) != magic_value)
    return;
  const uint32_t version = space.load(reg::version);
  if (version == 1)
    return log::error("virtio-mmio 0x%lx: a legacy device; QEMU needs "
                      "-global virtio-mmio.force-legacy=false",
                      slot.address);
  if (version != 2)
    return log::error("virtio-mmio 0x%lx: unknown version %u", slot.address, version);
  auto made = mem::make<mmio_transport>(space, slot, static_cast<spec::device_type>(id));
  if (!made.ok())
    return log::error("virtio-mmio 0x%lx: out of memory", slot.address);
  add_device(*made->release());
}

} // namespace

void find_mmio_devices() {
  const boot::virtio_mmio_slot* slots = nullptr;
  const size_t count = boot::virtio_mmio_slots(&slots);
  for (size_t i = 0; i < count; ++i)
    look_at(slots[i]);
  if (count != 0)
    return;
  // Nothing on the command line: the ACPI tables may describe some.
  OBLAKO_NEEDS(oblako_acpi_virtio_mmio);
  if (const acpi::information* info = arch::acpi_information())
    for (size_t i = 0; i < info->virtio_mmio_count; ++i)
      look_at({info->virtio_mmio[i].address, info->virtio_mmio[i].bytes, info->virtio_mmio[i].gsi});
}

} // namespace oblako::virtio
