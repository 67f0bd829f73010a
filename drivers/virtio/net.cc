// virtio network device: bring-up, offloads, configuration changes, interrupts. One receive and one
// transmit queue; the control queue where the host wants announcements confirmed.
// Spec: virtio 1.1, 5.1.
#include "core/log/log.hh"
#include "core/mem/frames.hh"
#include "core/net/device.hh"
#include "core/random/random.hh"
#include "drivers/virtio/device.hh"
#include "drivers/virtio/dma.hh"
#include "drivers/virtio/net_receive.hh"
#include "drivers/virtio/net_spec.hh"
#include "drivers/virtio/net_transmit.hh"
#include <optional>

namespace oblako::virtio {

namespace {

using namespace spec::net;

// The device's header, Ethernet's, and room for a VLAN tag.
constexpr size_t longest_link_header = 64;

constexpr uint64_t wanted_features =
    feature_checksum | feature_guest_checksum | feature_mtu | feature_mac | feature_guest_tso4 |
    feature_guest_tso6 | feature_host_tso4 | feature_host_tso6 | feature_mergeable_buffers |
    feature_status | feature_control_queue | feature_guest_announce;

// Receive buffers for this much RAM: the ring takes a thirty-second of it at most (but 256 kB of
// the smallest machine), and a sixteenth may be lent to the network beyond.
struct sizes {
  uint16_t ring;
  uint8_t order; // of pages in a buffer
  size_t limit;  // bytes
  explicit sizes(uint64_t ram)
      : ring(ram < 32_MiB    ? 64
             : ram < 512_MiB ? 128
                             : 256),
        order(ram < 32_MiB    ? 0
              : ram < 60_MiB  ? 1
              : ram < 120_MiB ? 2
                              : 3),
        limit((size_t{ring} * page_size << order) + ram / 16) {}
};

class net_device final : public net::device {
public:
  explicit net_device(transport& t) : setup_(t) {}

  // Errors: io, opnotsupp, nxio, nomem, nospc.
  result<void> start() {
    TRY(setup_.negotiate(usable_features()));
    read_mac();
    if (setup_.has(feature_mtu))
      mtu_ = setup_.config<uint16_t>(config_mtu);
    const sizes s(mem::frame_usage().total_bytes);
    if (!setup_.has(feature_mergeable_buffers)) // a frame has to fit one buffer
      mtu_ = static_cast<uint16_t>(
          min_of<size_t>(mtu_, net_receiver::room_for_data(s.order) - longest_link_header));
    receive_queue_ = TRY(setup_.add_queue(receive_queue, s.ring, on_queue, this));
    transmit_queue_ = TRY(setup_.add_queue(transmit_queue, s.ring, on_queue, this));
    if (setup_.has(feature_control_queue))
      control_queue_ = TRY(setup_.add_queue(control_queue, 16, nullptr, nullptr));
    TRY(setup_.bus().connect_config(on_config, this));
    receiver_.emplace(*receive_queue_, setup_.has(feature_mergeable_buffers), s.order);
    transmitter_.emplace(*transmit_queue_);
    TRY(transmitter_->start());
    TRY(receiver_->start(s.ring, s.limit));
    disable_interrupts();
    transmit_queue_->disable_interrupts();
    setup_.finish();
    receive_queue_->notify_always();
    read_status();
    return {};
  }
  void give_up() { setup_.give_up(); }

  net::mac_address mac() const override { return mac_; }
  uint16_t mtu() const override { return mtu_; }
  bool link_up() const override { return link_up_ && !broken(); }
  bool offers_transmit_checksum() const override { return setup_.has(feature_checksum); }
  bool offers_receive_checksum() const override { return setup_.has(feature_guest_checksum); }
  uint32_t transmit_gso_types() const override {
    if (!setup_.has(feature_checksum))
      return 0;
    return (setup_.has(feature_host_tso4) ? 1u << gso_tcp4 : 0) |
           (setup_.has(feature_host_tso6) ? 1u << gso_tcp6 : 0);
  }

  bool receive(net::received_frame& out) override {
    if (__atomic_load_n(&config_changed_, __ATOMIC_RELAXED)) [[unlikely]]
      take_config_change();
    if (receiver_->receive(out)) [[likely]] {
      resets_in_vain_ = 0;
      return true;
    }
    notice_breakage();
    return false;
  }
  void drop_spare_buffers() override { receiver_->drop_spare(); }
  void release_frame(net::received_frame& f) override { receiver_->release(f); }

  result<void> transmit(const net::segment* parts, size_t count,
                        const net::transmit_offload& offload, void (*done)(void*),
                        void* cookie) override {
    auto outcome = transmitter_->transmit(parts, count, offload, done, cookie);
    if (!outcome.ok())
      ++dropped_;
    return outcome;
  }
  result<void> transmit_whole(uint8_t* frame, uint32_t length, const net::transmit_offload& offload,
                              void (*done)(void*), void* cookie) override {
    auto outcome = transmitter_->transmit_whole(frame, length, offload, done, cookie);
    if (!outcome.ok()) [[unlikely]]
      ++dropped_;
    return outcome;
  }
  size_t reclaim_transmitted() override {
    const size_t free = transmitter_->reclaim();
    notice_breakage();
    return free;
  }
  void flush() override {
    transmit_queue_->notify();
    receiver_->refill();
  }

  void set_notify(void (*notify)(void*), void* context) override {
    notify_context_ = context;
    // release: an interrupt that sees the function sees its argument.
    __atomic_store_n(&notify_, notify, __ATOMIC_RELEASE);
  }
  bool enable_interrupts() override {
    if (broken())
      return true;
    bool quiet = receive_queue_->enable_interrupts();
    if (transmitter_->waiting_for_room())
      quiet = transmit_queue_->enable_interrupts() && quiet;
    return quiet && !__atomic_load_n(&config_changed_, __ATOMIC_SEQ_CST);
  }
  void disable_interrupts() override {
    receive_queue_->disable_interrupts();
    if (transmitter_->waiting_for_room())
      transmit_queue_->disable_interrupts();
  }

  bool take_announce_request() override {
    if (!announce_)
      return false;
    announce_ = false;
    confirm_announcement();
    return true;
  }

  const char* name() const override { return setup_.name(); }
  bool broken() const override { return receive_queue_->broken() || transmit_queue_->broken(); }
  statistics stats() const override {
    return {receiver_->frames(),   receiver_->bytes(), transmitter_->frames(),
            transmitter_->bytes(), dropped_,           receiver_->errors()};
  }

private:
  // Large frames from the host need buffers that merge; offloads need their checksum feature, which
  // the device has to offer with them (5.1.3.1).
  uint64_t usable_features() {
    uint64_t wanted = wanted_features;
    const uint64_t offered = setup_.offered();
    if (!(offered & feature_mergeable_buffers) || !(offered & feature_guest_checksum))
      wanted &= ~(feature_guest_tso4 | feature_guest_tso6);
    if (!(offered & feature_checksum))
      wanted &= ~(feature_host_tso4 | feature_host_tso6);
    if (!(offered & feature_control_queue) || !(offered & feature_status))
      wanted &= ~(feature_guest_announce | feature_control_queue);
    return wanted;
  }

  void read_mac() {
    if (setup_.has(feature_mac))
      return setup_.read_config(config_mac, mac_.bytes, sizeof mac_.bytes);
    random::fill(mac_.bytes, sizeof mac_.bytes);
    mac_.bytes[0] = static_cast<uint8_t>((mac_.bytes[0] & 0xfe) | 0x02); // local, not a group
  }

  void read_status() {
    if (!setup_.has(feature_status))
      return;
    const auto status = setup_.config<uint16_t>(config_status);
    link_up_ = status & status_link_up;
    announce_ = setup_.has(feature_guest_announce) && (status & status_announce);
  }

  void take_config_change() {
    __atomic_store_n(&config_changed_, 0u, __ATOMIC_SEQ_CST); // before the look: none is lost
    if (setup_.needs_reset()) {
      log::error("%s: the device asks for a reset", name());
      if (++resets_in_vain_ > max_resets_in_vain || !restart().ok()) {
        receive_queue_->mark_broken();
        return notice_breakage();
      }
    }
    read_status();
  }

  // 2.1.1: the device has failed and starts anew. What it held is lost, as on a wire.
  result<void> restart() {
    if (broken())
      return error::io;
    TRY(setup_.renegotiate());
    transmitter_->drop_all();
    receiver_->take_all_back();
    command_pending_ = false;
    if (control_queue_) {
      completion c;
      while (control_queue_->take_abandoned(c)) {
      }
      TRY(setup_.restart_queue(control_queue, *control_queue_));
    }
    TRY(setup_.restart_queue(receive_queue, *receive_queue_));
    TRY(setup_.restart_queue(transmit_queue, *transmit_queue_));
    receiver_->fill(); // no notification before the device is live (3.1.1)
    disable_interrupts();
    transmit_queue_->disable_interrupts();
    setup_.finish();
    receive_queue_->notify_always();
    return {};
  }

  // 5.1.6.5.4: tells the host that its request was heard. The answer is not waited for; the
  // command's memory is in use again only when it has come.
  void confirm_announcement() {
    completion c;
    while (control_queue_->take_completed(c))
      command_pending_ = false;
    if (command_pending_)
      return;
    auto chain = control_queue_->begin(2);
    if (!chain.ok())
      return;
    command_.what = announce_acknowledge;
    chain->add_readable(to_device(&command_.what), sizeof command_.what);
    chain->add_writable(to_device(&command_.answer), sizeof command_.answer);
    control_queue_->submit(chain.take(), &command_);
    command_pending_ = true;
    control_queue_->notify_always();
  }

  // The first call after a queue broke stops the device and returns what it held.
  void notice_breakage() {
    if (!broken() || stopped_) [[likely]]
      return;
    stopped_ = true;
    log::error("%s: the device broke the specification, or failed; it is not used any more",
               name());
    receive_queue_->mark_broken();
    transmit_queue_->mark_broken();
    // A device that does not confirm its reset may still write: then its memory stays lost.
    if (!setup_.give_up())
      return;
    transmitter_->drop_all();
    receiver_->drop_all();
  }

  void interrupt() {
    if (auto notify = __atomic_load_n(&notify_, __ATOMIC_ACQUIRE)) // see set_notify
      notify(notify_context_);
  }
  static void on_queue(void* context) {
    auto& self = *static_cast<net_device*>(context);
    self.receive_queue_->disable_interrupts();
    self.transmit_queue_->disable_interrupts();
    self.interrupt();
  }
  static void on_config(void* context) {
    auto& self = *static_cast<net_device*>(context);
    __atomic_store_n(&self.config_changed_, 1u, __ATOMIC_SEQ_CST);
    self.interrupt();
  }

  device_setup setup_;
  net::mac_address mac_{};
  uint16_t mtu_ = 1500;
  virtqueue* receive_queue_ = nullptr;
  virtqueue* transmit_queue_ = nullptr;
  virtqueue* control_queue_ = nullptr;
  std::optional<net_receiver> receiver_;
  std::optional<net_transmitter> transmitter_;
  uint64_t dropped_ = 0;
  bool link_up_ = true;
  bool announce_ = false;
  bool stopped_ = false;
  // Of a device that asks again and again, without a frame in between, nothing more is expected.
  static constexpr unsigned max_resets_in_vain = 8;
  unsigned resets_in_vain_ = 0;

  // Read by the device; the object lies on the kernel heap.
  struct {
    spec::net::control_command what;
    uint8_t answer;
  } command_{};
  bool command_pending_ = false;

  // --- written by interrupt handlers, or read by them
  uint32_t config_changed_ = 0;
  void (*notify_)(void*) = nullptr;
  void* notify_context_ = nullptr;
};

void start_one(transport& t) {
  auto made = mem::make<net_device>(t);
  if (!made.ok())
    return log::error("%s: out of memory", t.name());
  auto started = (*made)->start();
  auto attached = started.ok() ? net::attach(**made) : started.code();
  if (!attached.ok()) {
    log::error("%s: cannot be started (error %d)", t.name(), static_cast<int>(attached.code()));
    (*made)->give_up();
  }
  // Also a device that did not start stays: its interrupt handlers may be connected.
  made->release();
}

} // namespace

} // namespace oblako::virtio

// Brings up every network device and attaches it to the network.
extern "C" void oblako_start_virtio_net() {
  using namespace oblako::virtio;
  for (size_t i = 0; transport* t = find(spec::device_type::net, i); ++i)
    start_one(*t);
}
