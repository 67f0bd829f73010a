// sources: drivers/virtio/net.cc drivers/virtio/net_receive.cc drivers/virtio/net_transmit.cc
// sources: drivers/virtio/device.cc drivers/virtio/virtqueue.cc
// The whole network driver against a fake transport and a fake device: negotiation, frames both
// ways, buffers lent and returned, when it notifies, and a device that misbehaves.
#include "core/log/log.hh"
#include "core/mem/frames.hh"
#include "core/mem/heap.hh"
#include "core/net/device.hh"
#include "drivers/virtio/transport.hh"
#include "tests/unit/fake_split_device.hh"
#include <algorithm>
#include <array>
#include <deque>
#include <gtest/gtest.h>
#include <map>
#include <memory>
#include <random>
#include <sanitizer/asan_interface.h>
#include <set>

using namespace oblako;

extern "C" void oblako_start_virtio_net();

// --- what the driver needs of the kernel, counted and limited

namespace {
std::set<uint8_t*> pages; // single ones; several may have come in one piece
std::set<void*> heap;
struct piece {
  size_t bytes, left;
};
std::map<uint8_t*, piece> pieces; // by their first page
size_t page_limit;
unsigned largest_order;
uint64_t ram;
net::device* attached;
virtio::transport* present;
size_t errors_logged;

} // namespace

namespace oblako::mem {
void* allocate(size_t bytes) {
  return *heap.insert(malloc(bytes)).first;
}
void release(void* memory) {
  EXPECT_EQ(heap.erase(memory), memory ? 1u : 0u);
  free(memory);
}
result<phys_addr> allocate_frames(unsigned order, zeroed) {
  const size_t bytes = page_size << order;
  if (pages.size() + (1u << order) > page_limit || order > largest_order)
    return error::nomem;
  auto* p = static_cast<uint8_t*>(aligned_alloc(bytes, bytes));
  memset(p, 0xaa, bytes);
  for (size_t at = 0; at < bytes; at += page_size)
    pages.insert(p + at);
  pieces[p] = {bytes, bytes};
  return to_physical(p);
}
// A part of a piece may go back by itself; nobody may touch it afterwards.
void free_frames(phys_addr start, unsigned order) {
  auto* p = static_cast<uint8_t*>(to_virtual(start));
  const size_t bytes = page_size << order;
  for (size_t at = 0; at < bytes; at += page_size)
    EXPECT_EQ(pages.erase(p + at), 1u);
  auto whole = --pieces.upper_bound(p);
  ASAN_POISON_MEMORY_REGION(p, bytes);
  if (whole->second.left -= bytes)
    return;
  ASAN_UNPOISON_MEMORY_REGION(whole->first, whole->second.bytes);
  free(whole->first);
  pieces.erase(whole);
}
result<phys_addr> allocate_contiguous(size_t n, zeroed) {
  return to_physical(*heap.insert(aligned_alloc(page_size, n * page_size)).first);
}
void free_contiguous(phys_addr start, size_t) {
  release(to_virtual(start));
}
frame_statistics frame_usage() {
  return {ram, ram / 2};
}
} // namespace oblako::mem

namespace oblako::log {
void error(const char*, ...) {
  ++errors_logged;
}
void warning(const char*, ...) {}
void panic(const char* format, ...) {
  fprintf(stderr, "panic: %s\n", format);
  abort();
}
} // namespace oblako::log

namespace oblako::random {
void fill(void* to, size_t bytes) {
  memset(to, 0x5f, bytes);
}
} // namespace oblako::random

result<void> oblako::net::attach(device& d) {
  attached = &d;
  return {};
}

virtio::transport* oblako::virtio::find(spec::device_type type, size_t index) {
  return type == spec::device_type::net && index == 0 ? present : nullptr;
}

namespace {

void* to_host(uint64_t address) {
  return reinterpret_cast<void*>(address);
}
constexpr uint16_t silent = 0xeeee;

constexpr uint64_t bit(unsigned n) {
  return uint64_t{1} << n;
}
// What QEMU's virtio-net offers, as far as this driver could care (5.1.3, 6).
constexpr uint64_t qemu_features = bit(0) | bit(1) | bit(5) | bit(7) | bit(8) | bit(9) | bit(11) |
                                   bit(12) | bit(13) | bit(15) | bit(16) | bit(17) | bit(18) |
                                   bit(21) | bit(28) | bit(29) | bit(32);

struct fake_bus final : virtio::transport {
  uint64_t features = qemu_features;
  uint64_t accepted = 0;
  uint8_t device_status = 0x80; // whatever the firmware left
  std::vector<uint8_t> statuses;
  bool refuse_features = false, stuck = false;
  int reconnected = 0;
  uint16_t capacity[3] = {256, 256, 64};
  uint8_t config[12] = {0x52, 0x54, 0, 1, 2, 3, 1, 0, 1, 0, 0x28, 0x23}; // mac, status, pairs, mtu
  std::vector<void*> rings;
  std::unique_ptr<fake::split_device> queues[3];
  uint16_t sizes[3] = {};
  uint16_t bells[3] = {silent, silent, silent};
  std::pair<arch::interrupt_handler, void*> handlers[3]{}, config_handler{};

  virtio::spec::device_type type() const override { return virtio::spec::device_type::net; }
  const char* name() const override { return "fake"; }
  uint64_t offered_features() override { return features; }
  void accept_features(uint64_t f) override { accepted = f; }
  uint8_t status() override { return device_status; }
  void set_status(uint8_t s) override {
    statuses.push_back(s);
    if (s == 0 && stuck)
      return;
    device_status = refuse_features ? s & ~8 : s;
  }
  uint16_t queue_capacity(uint16_t i) override { return i < 3 ? capacity[i] : uint16_t{0}; }
  result<virtio::doorbell> start_queue(uint16_t i, uint16_t size,
                                       const virtio::ring_addresses& a) override {
    EXPECT_TRUE(device_status & 8);
    EXPECT_FALSE(device_status & 4);
    EXPECT_EQ(raw(a.descriptors) % 16, 0u);
    EXPECT_EQ(raw(a.available) % 2, 0u);
    EXPECT_EQ(raw(a.used) % 4, 0u);
    EXPECT_EQ(size & (size - 1), 0);
    sizes[i] = size;
    queues[i] =
        std::make_unique<fake::split_device>(to_host(raw(a.descriptors)), to_host(raw(a.available)),
                                             to_host(raw(a.used)), size, to_host);
    return virtio::doorbell{&bells[i], i, false};
  }
  result<void> connect_queue(uint16_t i, arch::interrupt_handler h, void* c) override {
    handlers[i] = {h, c};
    return {};
  }
  result<void> connect_config(arch::interrupt_handler h, void* c) override {
    config_handler = {h, c};
    return {};
  }
  result<void> reconnect_config() override {
    ++reconnected;
    return {};
  }
  uint8_t read_config(uint32_t offset) override {
    return offset < 12 ? config[offset] : uint8_t{0};
  }
  uint32_t config_generation() override { return 0; }

  fake::split_device& rx() { return *queues[0]; }
  fake::split_device& tx() { return *queues[1]; }
  bool rang(unsigned queue) {
    const bool r = bells[queue] != silent;
    EXPECT_TRUE(!r || bells[queue] == queue);
    bells[queue] = silent;
    return r;
  }
};

constexpr uint16_t first_ring = 48; // buffers on the ring to begin with

class virtio_net : public testing::Test {
protected:
  void SetUp() override {
    page_limit = 100000;
    largest_order = 9;
    ram = 16_MiB;
    attached = nullptr;
    errors_logged = 0;
    present = &bus;
  }
  // The driver and its queues live as long as the VM, which is this test.
  void TearDown() override {
    forget_pages();
    for (void* p : heap)
      free(p);
    heap.clear();
  }
  static void forget_pages() {
    for (auto& [start, piece] : pieces) {
      ASAN_UNPOISON_MEMORY_REGION(start, piece.bytes);
      free(start);
    }
    pieces.clear();
    pages.clear();
  }
  net::device& start() {
    oblako_start_virtio_net();
    EXPECT_NE(attached, nullptr);
    return *attached;
  }

  // The device delivers one frame of `length` bytes, all `fill`; false: not enough buffers.
  bool deliver(uint32_t length, uint8_t fill, uint8_t flags = 0) {
    struct part {
      uint16_t head;
      uint32_t bytes;
    };
    std::vector<part> parts;
    uint32_t left = length + 12;
    // As QEMU does: a frame that does not fit as a whole takes nothing.
    if (bus.rx().waiting() * uint64_t{4096 - 128} < left)
      return false;
    uint8_t* header = nullptr;
    while (left) {
      auto r = bus.rx().take();
      EXPECT_EQ(r.pieces.size(), 1u);
      EXPECT_TRUE(r.pieces[0].writable);
      auto* to = static_cast<uint8_t*>(to_host(r.pieces[0].address));
      const uint32_t n = std::min(left, r.pieces[0].length);
      memset(to, fill, n);
      if (!header) {
        header = to;
        memset(header, 0, 12);
        header[0] = flags;
      }
      parts.push_back({r.head, n});
      left -= n;
    }
    const auto count = static_cast<uint16_t>(parts.size());
    memcpy(header + 10, &count, 2);
    for (uint16_t i = 0; i < count; ++i)
      bus.rx().fill(parts[i].head, parts[i].bytes, i);
    bus.rx().publish(count);
    return true;
  }

  static uint64_t check_frame(const net::received_frame& f, uint8_t fill) {
    uint64_t total = 0;
    auto check = [&](const void* data, uint32_t n) {
      for (uint32_t i = 0; i < n; ++i)
        if (static_cast<const uint8_t*>(data)[i] != fill)
          return ADD_FAILURE() << "wrong byte", void();
      total += n;
    };
    check(f.data, f.length);
    for (unsigned i = 1; i < f.segments; ++i)
      check(f.more[i - 1].data, f.more[i - 1].length);
    return total;
  }

  fake_bus bus;
};

TEST_F(virtio_net, negotiates_in_the_order_of_the_specification) {
  net::device& d = start();
  EXPECT_EQ(bus.statuses, (std::vector<uint8_t>{0, 1, 3, 11, 15}));
  // Of what QEMU offers everything but ECN and the extra-RX filters.
  EXPECT_EQ(bus.accepted, qemu_features & ~(bit(9) | bit(13) | bit(18)));
  EXPECT_EQ(d.mac().bytes[0], 0x52);
  EXPECT_EQ(d.mac().bytes[5], 3);
  EXPECT_EQ(d.mtu(), 1500); // the feature is not offered
  EXPECT_TRUE(d.link_up());
  EXPECT_EQ(d.transmit_gso_types(), 1u << 1 | 1u << 4);
  EXPECT_EQ(bus.sizes[0], 64); // 16 MB of RAM
  EXPECT_EQ(bus.rx().waiting(), first_ring);
  EXPECT_EQ(pages.size(), size_t{first_ring});
  EXPECT_TRUE(bus.rang(0));
}

TEST_F(virtio_net, features_that_depend_on_others_are_not_taken_alone) {
  bus.features &= ~(bit(15) | bit(0) | bit(16)); // no mergeable buffers, no checksum, no status
  net::device& d = start();
  EXPECT_FALSE(bus.accepted & (bit(7) | bit(8) | bit(11) | bit(12) | bit(17) | bit(21)));
  EXPECT_TRUE(bus.accepted & bit(1));
  EXPECT_EQ(d.transmit_gso_types(), 0u);
  EXPECT_FALSE(d.offers_transmit_checksum());
  EXPECT_TRUE(d.link_up());
}

TEST_F(virtio_net, mtu_and_missing_mac) {
  bus.features = (bus.features | bit(3)) & ~bit(5);
  net::device& d = start();
  EXPECT_EQ(d.mtu(), 0x2328);
  EXPECT_EQ(d.mac().bytes[0], 0x5e); // local, not a group
}

TEST_F(virtio_net, refuses_a_device_that_does_not_play_along) {
  bus.features &= ~bit(32);
  oblako_start_virtio_net();
  EXPECT_EQ(attached, nullptr);
  EXPECT_EQ(bus.device_status, 0x80);
  for (int what = 0; what < 4; ++what) {
    fake_bus other;
    present = &other;
    other.refuse_features = what == 0;
    other.stuck = what == 1;
    if (what == 2)
      other.capacity[1] = 0;
    page_limit = what == 3 ? 3 : 100000;
    const size_t before = errors_logged;
    oblako_start_virtio_net();
    EXPECT_EQ(attached, nullptr);
    EXPECT_GT(errors_logged, before);
    EXPECT_EQ(other.statuses.back(), 0x80);
    forget_pages();
  }
}

TEST_F(virtio_net, with_little_memory_the_ring_is_short_but_works) {
  page_limit = 10;
  net::device& d = start();
  EXPECT_EQ(bus.rx().waiting(), 10);
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(deliver(1000, 7));
    net::received_frame f;
    ASSERT_TRUE(d.receive(f));
    d.release_frame(f);
    d.flush();
  }
  EXPECT_EQ(pages.size(), 10u);
}

TEST_F(virtio_net, receives_small_and_large_frames) {
  net::device& d = start();
  net::received_frame f;
  EXPECT_FALSE(d.receive(f));
  for (uint32_t length : {60u, 1514u, 3956u, 3957u, 65549u}) {
    const uint8_t flags = length == 60 ? 2 : length == 1514 ? 1 : 0;
    ASSERT_TRUE(deliver(length, static_cast<uint8_t>(length), flags));
    ASSERT_TRUE(d.receive(f));
    EXPECT_EQ(check_frame(f, static_cast<uint8_t>(length)), length);
    EXPECT_EQ(f.segments, (length + 12 + 3967) / 3968);
    EXPECT_EQ(f.held, f.segments * 4096u);
    EXPECT_EQ(f.checksum, flags == 2   ? net::checksum_state::verified
                          : flags == 1 ? net::checksum_state::partial
                                       : net::checksum_state::none);
    d.release_frame(f);
    d.flush();
    EXPECT_EQ(bus.rx().waiting(), first_ring);
  }
  EXPECT_EQ(pages.size(), size_t{first_ring});
  EXPECT_EQ(d.stats().received_frames, 5u);
}

// With more memory a large frame comes in few pieces.
TEST_F(virtio_net, large_buffers_where_memory_allows) {
  struct {
    uint64_t ram;
    unsigned order;
  } sizes[] = {{40_MiB, 1}, {64_MiB, 2}, {256_MiB, 3}, {4_GiB, 3}};
  for (auto& s : sizes) {
    fake_bus other;
    present = &other;
    ram = s.ram;
    net::device& d = start();
    EXPECT_EQ(other.rx().waiting(), first_ring);
    EXPECT_LE(pages.size() * page_size, ram / 32);
    auto r = other.rx().take();
    EXPECT_EQ(r.pieces[0].length, (4096u << s.order) - 128);
    auto* to = static_cast<uint8_t*>(to_host(r.pieces[0].address));
    memset(to, 0, r.pieces[0].length);
    to[10] = 1;
    other.rx().complete(r.head, 1000);
    net::received_frame f;
    ASSERT_TRUE(d.receive(f));
    EXPECT_EQ(f.held, 4096u << s.order);
    // The room in front is the stack's.
    memset(f.data - net::received_frame::room_in_front, 0xff, net::received_frame::room_in_front);
    d.release_frame(f);
    d.flush();
    EXPECT_EQ(other.rx().waiting(), first_ring);
    forget_pages();
  }
}

TEST_F(virtio_net, the_ring_grows_when_it_has_run_low) {
  ram = 64_MiB;
  net::device& d = start();
  for (uint16_t expected : {48, 96, 128, 128}) {
    EXPECT_EQ(bus.rx().waiting(), expected);
    bus.rang(0);
    for (int i = 0; i < expected * 2 / 3; ++i)
      ASSERT_TRUE(deliver(1000, 4));
    net::received_frame f;
    while (d.receive(f))
      d.release_frame(f);
    d.flush();
    EXPECT_TRUE(bus.rang(0)); // the device may be waiting
  }
  EXPECT_LE(pages.size() * page_size, ram / 32 * 3 / 2);
}

TEST_F(virtio_net, single_pages_where_memory_is_in_pieces) {
  ram = 64_MiB;
  net::device& d = start();
  largest_order = 0;
  std::vector<net::received_frame> held;
  net::received_frame f;
  for (int i = 0; i < 300; ++i) {
    ASSERT_TRUE(deliver(9000, 5)); // three pieces, or one
    ASSERT_TRUE(d.receive(f));
    EXPECT_EQ(check_frame(f, 5), 9000u);
    held.push_back(f);
    d.flush();
    EXPECT_EQ(bus.rx().waiting(), first_ring);
  }
  EXPECT_EQ(held.front().segments, 1u);
  EXPECT_EQ(held.back().segments, 3u);
  for (auto& h : held)
    d.release_frame(h);
  d.flush();
  EXPECT_EQ(bus.rx().waiting(), first_ring);
  EXPECT_LE(pages.size(), 4u * (first_ring + first_ring / 2));
}

TEST_F(virtio_net, a_frame_whose_pieces_arrive_one_by_one) {
  net::device& d = start();
  // 3 buffers, each published alone (allowed to be seen so by a driver on another CPU).
  net::received_frame f;
  for (uint16_t i = 0; i < 3; ++i) {
    auto r = bus.rx().take();
    auto* to = static_cast<uint8_t*>(to_host(r.pieces[0].address));
    memset(to, 9, r.pieces[0].length);
    if (i == 0) {
      memset(to, 0, 12);
      to[10] = 3;
    }
    bus.rx().complete(r.head, i < 2 ? r.pieces[0].length : 100);
    EXPECT_EQ(d.receive(f), i == 2);
  }
  EXPECT_EQ(check_frame(f, 9), 2 * 3968 - 12 + 100u);
}

TEST_F(virtio_net, lent_buffers_are_replaced_up_to_the_limit_and_given_back) {
  net::device& d = start();
  const size_t limit = 64 + 16_MiB / 16 / 4096;
  std::vector<net::received_frame> held;
  net::received_frame f;
  while (deliver(1000, 1)) {
    ASSERT_TRUE(d.receive(f));
    held.push_back(f);
    d.flush();
    ASSERT_LE(pages.size(), limit);
  }
  EXPECT_EQ(held.size(), limit); // every page is with the stack, the ring is empty
  EXPECT_EQ(pages.size(), limit);
  bus.rang(0);
  d.flush();
  EXPECT_FALSE(bus.rang(0));
  // One comes back: on the ring at once, and the device is told although it did not ask.
  d.release_frame(held.back());
  held.pop_back();
  d.flush();
  EXPECT_EQ(bus.rx().waiting(), 1);
  EXPECT_TRUE(bus.rang(0));
  for (auto& h : held)
    d.release_frame(h);
  d.flush();
  EXPECT_EQ(bus.rx().waiting(), 64);
  EXPECT_EQ(pages.size(), 64u); // the rest went back to the system
}

TEST_F(virtio_net, out_of_memory_while_frames_are_lent_heals_when_they_return) {
  net::device& d = start();
  page_limit = pages.size(); // not one more
  std::vector<net::received_frame> held;
  net::received_frame f;
  while (deliver(1000, 1)) {
    ASSERT_TRUE(d.receive(f));
    held.push_back(f);
    d.flush();
  }
  EXPECT_EQ(held.size(), size_t{first_ring});
  bus.rang(0);
  for (auto& h : held) {
    d.release_frame(h);
    d.flush();
    // Never silent while the device could be waiting for room for a large frame.
    EXPECT_TRUE(bus.rang(0) || bus.rx().waiting() > 40);
  }
  EXPECT_EQ(bus.rx().waiting(), first_ring);
}

TEST_F(virtio_net, the_lost_wake_up_of_qemu_cannot_stall_us) {
  net::device& d = start();
  bus.rang(0);
  // The device uses all but a few buffers and finds the next large frame not fitting.
  for (int i = 0; i < first_ring - 4; ++i)
    ASSERT_TRUE(deliver(100, 1));
  ASSERT_FALSE(deliver(65000, 2));
  // In this very moment the driver drains and refills; by the event index (far behind) it need not
  // notify, and the device asks to be told only about what comes after.
  bus.rx().set_avail_event(static_cast<uint16_t>(bus.rx().driver_index() - 1000));
  net::received_frame f;
  while (d.receive(f)) {
    d.release_frame(f);
    d.flush();
  }
  bus.rx().set_avail_event(bus.rx().driver_index());
  EXPECT_TRUE(bus.rang(0));
  EXPECT_TRUE(deliver(65000, 2));
}

TEST_F(virtio_net, a_well_filled_ring_is_refilled_silently_unless_asked) {
  net::device& d = start();
  bus.rang(0);
  bus.rx().set_avail_event(static_cast<uint16_t>(bus.rx().driver_index() - 1000));
  net::received_frame f;
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(deliver(100, 1));
    ASSERT_TRUE(d.receive(f));
    d.release_frame(f);
    d.flush();
  }
  EXPECT_FALSE(bus.rang(0));
}

// --- sending

struct sent_log {
  std::vector<uintptr_t> done;
  static sent_log* current;
  static void record(void* cookie) { current->done.push_back(reinterpret_cast<uintptr_t>(cookie)); }
  sent_log() { current = this; }
};
sent_log* sent_log::current;

TEST_F(virtio_net, sends_a_gathered_frame_with_offloads) {
  net::device& d = start();
  sent_log log;
  const std::string a(54, 'a'), b(1000, 'b');
  const net::segment parts[] = {{a.data(), 54}, {b.data(), 1000}};
  net::transmit_offload o;
  o.needs_checksum = true;
  o.checksum_start = 34;
  o.checksum_offset = 16;
  o.gso_type = 1;
  o.gso_size = 500;
  o.header_length = 54;
  ASSERT_TRUE(d.transmit(parts, 2, o, sent_log::record, to_host(77)).ok());
  EXPECT_FALSE(bus.rang(1)); // not before flush
  d.flush();
  EXPECT_TRUE(bus.rang(1));
  auto r = bus.tx().take();
  ASSERT_EQ(r.pieces.size(), 3u);
  ASSERT_EQ(r.pieces[0].length, 12u);
  // 5.1.6: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset, num_buffers
  const uint8_t expected[12] = {1, 1, 54, 0, 0xf4, 1, 34, 0, 16, 0, 0, 0};
  EXPECT_EQ(memcmp(to_host(r.pieces[0].address), expected, 12), 0);
  EXPECT_EQ(to_host(r.pieces[1].address), a.data());
  EXPECT_EQ(to_host(r.pieces[2].address), b.data());
  EXPECT_EQ(d.reclaim_transmitted(), bus.sizes[1] - 3u);
  EXPECT_TRUE(log.done.empty());
  bus.tx().complete(r.head, 0);
  EXPECT_EQ(d.reclaim_transmitted(), bus.sizes[1]);
  EXPECT_EQ(log.done, std::vector<uintptr_t>{77});
}

TEST_F(virtio_net, sends_a_whole_frame_with_its_header_in_front) {
  net::device& d = start();
  sent_log log;
  constexpr size_t room = net::device::frame_room;
  alignas(8) uint8_t memory[room + 60] = {};
  uint8_t* const frame = memory + room;
  memset(frame, 'f', 60);
  net::transmit_offload o;
  o.needs_checksum = true;
  o.checksum_start = 34;
  o.checksum_offset = 16;
  ASSERT_TRUE(d.transmit_whole(frame, 60, o, sent_log::record, to_host(78)).ok());
  EXPECT_FALSE(bus.rang(1)); // not before flush
  d.flush();
  EXPECT_TRUE(bus.rang(1));
  auto r = bus.tx().take();
  ASSERT_EQ(r.pieces.size(), 1u);
  ASSERT_EQ(r.pieces[0].length, 12u + 60u);
  EXPECT_EQ(to_host(r.pieces[0].address), frame - 12);
  const uint8_t expected[12] = {1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0};
  EXPECT_EQ(memcmp(frame - 12, expected, 12), 0);
  EXPECT_EQ(frame[0], 'f');
  EXPECT_EQ(d.reclaim_transmitted(), bus.sizes[1] - 1u);
  EXPECT_TRUE(log.done.empty());
  bus.tx().complete(r.head, 0);
  EXPECT_EQ(d.reclaim_transmitted(), bus.sizes[1]);
  EXPECT_EQ(log.done, std::vector<uintptr_t>{78});
  // Between others, each comes back with its own; the ring may be full of them.
  const net::segment part{frame, 60};
  std::vector<std::array<uint8_t, room + 8>> frames(bus.sizes[1]);
  size_t n = 0;
  ASSERT_TRUE(d.transmit(&part, 1, {}, sent_log::record, to_host(1000)).ok());
  while (d.transmit_whole(frames[n].data() + room, 8, {}, sent_log::record, to_host(n + 1)).ok())
    ++n;
  EXPECT_EQ(n, bus.sizes[1] - 2u);
  EXPECT_EQ(d.transmit_whole(frame, 60, {}, sent_log::record, nullptr).code(), error::again);
  log.done.clear();
  while (bus.tx().has_request())
    bus.tx().complete(bus.tx().take().head, 0);
  EXPECT_EQ(d.reclaim_transmitted(), bus.sizes[1]);
  EXPECT_EQ(log.done.size(), n + 1);
  EXPECT_EQ(log.done.front(), 1000u);
  EXPECT_EQ(log.done.back(), n);
}

TEST_F(virtio_net, full_transmit_ring_says_again_and_asks_for_one_interrupt) {
  net::device& d = start();
  sent_log log;
  const char byte = 0;
  const net::segment part{&byte, 1};
  size_t n = 0;
  d.enable_interrupts();
  const uint16_t asked_before = bus.tx().used_event();
  for (;; ++n) {
    auto r = d.transmit(&part, 1, {}, sent_log::record, to_host(n + 1));
    if (!r.ok()) {
      EXPECT_EQ(r.code(), error::again);
      break;
    }
  }
  EXPECT_EQ(n, bus.sizes[1] / 2u);
  d.flush();
  EXPECT_EQ(bus.tx().used_event(), asked_before); // nobody waited yet
  EXPECT_TRUE(d.enable_interrupts());
  const uint16_t before = bus.tx().used_index();
  std::vector<uint16_t> heads;
  while (bus.tx().has_request())
    heads.push_back(bus.tx().take().head);
  bus.tx().complete(heads[3], 0);
  EXPECT_TRUE(bus.tx().interrupt_due(before));
  EXPECT_FALSE(d.enable_interrupts()); // room came: poll
  EXPECT_EQ(d.reclaim_transmitted(), 2u);
  EXPECT_EQ(log.done, std::vector<uintptr_t>{4});
  EXPECT_TRUE(d.transmit(&part, 1, {}, sent_log::record, to_host(1000)).ok());
  EXPECT_EQ(d.transmit(&part, 0, {}, sent_log::record, nullptr).code(), error::inval);
}

// --- interrupts and configuration

int notifications;
void count_notification(void* context) {
  EXPECT_EQ(context, &notifications);
  ++notifications;
}

TEST_F(virtio_net, interrupts_wake_the_stack_once) {
  net::device& d = start();
  notifications = 0;
  bus.handlers[0].first(bus.handlers[0].second); // before set_notify: nothing to call
  d.set_notify(count_notification, &notifications);
  EXPECT_TRUE(d.enable_interrupts());
  uint16_t before = bus.rx().used_index();
  ASSERT_TRUE(deliver(100, 1));
  EXPECT_TRUE(bus.rx().interrupt_due(before));
  bus.handlers[0].first(bus.handlers[0].second);
  EXPECT_EQ(notifications, 1);
  before = bus.rx().used_index();
  ASSERT_TRUE(deliver(100, 1));
  EXPECT_FALSE(bus.rx().interrupt_due(before)); // off until enabled again
  EXPECT_FALSE(d.enable_interrupts());          // two frames are there
  net::received_frame f;
  while (d.receive(f))
    d.release_frame(f);
  EXPECT_TRUE(d.enable_interrupts());
}

TEST_F(virtio_net, link_changes_and_announcements) {
  net::device& d = start();
  notifications = 0;
  d.set_notify(count_notification, &notifications);
  bus.config[6] = 0;
  bus.config_handler.first(bus.config_handler.second);
  EXPECT_EQ(notifications, 1);
  EXPECT_FALSE(d.enable_interrupts()); // there is something to look at
  net::received_frame f;
  EXPECT_FALSE(d.receive(f));
  EXPECT_TRUE(d.enable_interrupts());
  EXPECT_FALSE(d.link_up());
  EXPECT_FALSE(d.take_announce_request());

  bus.config[6] = 3; // up, please announce
  bus.config_handler.first(bus.config_handler.second);
  d.receive(f);
  EXPECT_TRUE(d.link_up());
  EXPECT_TRUE(d.take_announce_request());
  EXPECT_FALSE(d.take_announce_request());
  EXPECT_TRUE(bus.rang(2));
  auto r = bus.queues[2]->take();
  ASSERT_EQ(r.pieces.size(), 2u);
  EXPECT_EQ(r.pieces[0].length, 2u);
  EXPECT_EQ(memcmp(to_host(r.pieces[0].address), "\3\0", 2), 0);
  EXPECT_TRUE(r.pieces[1].writable);
  bus.queues[2]->complete(r.head, 1);
}

// --- a device that misbehaves

TEST_F(virtio_net, lying_lengths_and_counts_end_the_device_cleanly) {
  struct {
    uint32_t written;
    uint16_t count;
  } lies[] = {{0, 1}, {11, 1}, {100, 0}, {100, 19}, {100, 0xffff}, {3969, 1}, {0xffffffff, 1}};
  for (auto& lie : lies) {
    fake_bus other;
    present = &other;
    net::device& d = start();
    sent_log log;
    const char byte = 0;
    const net::segment part{&byte, 1};
    ASSERT_TRUE(d.transmit(&part, 1, {}, sent_log::record, to_host(5)).ok());
    auto r = other.rx().take();
    auto* to = static_cast<uint8_t*>(to_host(r.pieces[0].address));
    memset(to, 0, 12);
    memcpy(to + 10, &lie.count, 2);
    other.rx().complete(r.head, lie.written);
    net::received_frame f;
    EXPECT_FALSE(d.receive(f));
    EXPECT_TRUE(d.broken());
    EXPECT_FALSE(d.link_up());
    EXPECT_EQ(other.statuses.back(), 0x80);
    EXPECT_EQ(log.done, std::vector<uintptr_t>{5}); // what it held is the caller's again
    EXPECT_EQ(pages.size(), 0u);
    EXPECT_EQ(d.transmit(&part, 1, {}, sent_log::record, nullptr).code(), error::io);
    EXPECT_TRUE(d.enable_interrupts());
    d.flush();
  }
}

// 2.1.1: the device asks for a reset, gets one, and goes on; what it held has come back.
TEST_F(virtio_net, starts_anew_when_the_device_needs_a_reset) {
  net::device& d = start();
  sent_log log;
  const char byte = 0;
  const net::segment part{&byte, 1};
  net::received_frame held, f;
  for (int round = 1; round <= 20; ++round) {
    ASSERT_TRUE(deliver(9000, 3));
    ASSERT_TRUE(d.receive(held));
    // A frame half received, some half sent, the announcement's answer under way.
    auto r = bus.rx().take();
    auto* to = static_cast<uint8_t*>(to_host(r.pieces[0].address));
    memset(to, 0, 12);
    to[10] = 2;
    bus.rx().complete(r.head, 1000);
    EXPECT_FALSE(d.receive(f));
    while (d.transmit(&part, 1, {}, sent_log::record, to_host(5)).ok()) {
    }
    const size_t under_way = bus.sizes[1] / 2u;
    bus.config[6] = 3;
    bus.statuses.clear();
    bus.rang(0);
    bus.rang(1);
    bus.device_status |= 64;
    bus.config_handler.first(bus.config_handler.second);
    EXPECT_FALSE(d.receive(f));
    EXPECT_EQ(bus.statuses, (std::vector<uint8_t>{0, 1, 3, 11, 15}));
    EXPECT_EQ(bus.reconnected, round);
    EXPECT_EQ(bus.accepted, qemu_features & ~(bit(9) | bit(13) | bit(18)));
    EXPECT_FALSE(d.broken());
    EXPECT_TRUE(d.link_up());
    EXPECT_TRUE(bus.rang(0));
    EXPECT_EQ(bus.rx().waiting(), first_ring);
    EXPECT_EQ(log.done.size(), under_way);
    log.done.clear();
    // What the stack held is untouched, and returns to the pool.
    EXPECT_EQ(check_frame(held, 3), 9000u);
    d.release_frame(held);
    EXPECT_EQ(pages.size(), size_t{first_ring});
    EXPECT_TRUE(d.take_announce_request());
    EXPECT_TRUE(bus.rang(2));
    // Both directions work.
    ASSERT_TRUE(deliver(1514, 8));
    ASSERT_TRUE(d.receive(f));
    EXPECT_EQ(check_frame(f, 8), 1514u);
    d.release_frame(f);
    ASSERT_TRUE(d.transmit(&part, 1, {}, sent_log::record, to_host(6)).ok());
    d.flush();
    EXPECT_TRUE(bus.rang(1));
    bus.tx().complete(bus.tx().take().head, 0);
    d.reclaim_transmitted();
    EXPECT_EQ(log.done, std::vector<uintptr_t>{6});
    log.done.clear();
  }
}

TEST_F(virtio_net, a_device_that_does_nothing_but_ask_for_resets_is_given_up) {
  net::device& d = start();
  net::received_frame f;
  int resets = 0;
  for (; !d.broken() && resets < 100; ++resets) {
    bus.device_status |= 64;
    bus.config_handler.first(bus.config_handler.second);
    EXPECT_FALSE(d.receive(f));
  }
  EXPECT_EQ(resets, 9);
  EXPECT_EQ(bus.statuses.back(), 0x80);
  EXPECT_EQ(pages.size(), 0u);
}

TEST_F(virtio_net, a_device_that_cannot_be_reset_is_given_up) {
  for (bool stuck : {true, false}) {
    fake_bus other;
    present = &other;
    net::device& d = start();
    net::received_frame held, f;
    std::swap(bus.queues[0], other.queues[0]);
    ASSERT_TRUE(deliver(9000, 3));
    ASSERT_TRUE(d.receive(held));
    std::swap(bus.queues[0], other.queues[0]);
    (stuck ? other.stuck : other.refuse_features) = true;
    other.device_status |= 64;
    other.config_handler.first(other.config_handler.second);
    EXPECT_FALSE(d.receive(f));
    EXPECT_TRUE(d.broken());
    // A device that has not stopped may still write to its buffers.
    EXPECT_EQ(pages.size(), stuck ? size_t{first_ring} : 3u);
    EXPECT_EQ(check_frame(held, 3), 9000u);
    d.release_frame(held);
    forget_pages();
  }
}

TEST_F(virtio_net, a_device_that_will_not_stop_keeps_its_buffers) {
  net::device& d = start();
  sent_log log;
  const char byte = 0;
  const net::segment part{&byte, 1};
  ASSERT_TRUE(d.transmit(&part, 1, {}, sent_log::record, to_host(5)).ok());
  bus.rx().set_used_index(1000);
  bus.stuck = true;
  bus.device_status |= 4;
  net::received_frame f;
  EXPECT_FALSE(d.receive(f));
  EXPECT_TRUE(d.broken());
  EXPECT_EQ(pages.size(), size_t{first_ring}); // it may still write there
  EXPECT_TRUE(log.done.empty());
}

// --- random traffic against a model

class virtio_net_random : public virtio_net, public testing::WithParamInterface<uint32_t> {};

TEST_P(virtio_net_random, every_frame_arrives_once_in_order_and_nothing_stalls) {
  std::mt19937 random(GetParam());
  auto pick = [&](uint32_t n) { return static_cast<uint32_t>(random() % n); };
  if (GetParam() % 2)
    bus.features &= ~bit(29);
  if (GetParam() % 3 == 0)
    bus.features &= ~bit(15);
  const bool merge = bus.features & bit(15);
  net::device& d = start();
  page_limit = 64 + pick(300);
  std::deque<std::pair<uint32_t, uint8_t>> wire; // delivered, not yet received
  std::vector<std::pair<net::received_frame, std::pair<uint32_t, uint8_t>>> held;
  std::deque<uintptr_t> sending;
  std::vector<std::pair<uint16_t, uintptr_t>> in_device;
  sent_log log;
  size_t sent = 0;
  static char payload[4096];
  uint8_t next_fill = 0;
  uint64_t received = 0;
  for (int step = 0; step < 4000; ++step) {
    switch (pick(6)) {
    case 0:
    case 1:
      for (uint32_t n = pick(40); n-- > 0;) {
        const uint32_t length = merge && pick(8) == 0 ? 60 + pick(65000) : 60 + pick(1454);
        if (!deliver(length, ++next_fill))
          break;
        wire.push_back({length, next_fill});
      }
      if (pick(2))
        bus.rx().want_notification();
      break;
    case 2: {
      net::received_frame f;
      for (uint32_t n = pick(64); n-- > 0 && d.receive(f);) {
        ASSERT_FALSE(wire.empty());
        ++received;
        if (pick(2)) {
          held.push_back({f, wire.front()});
        } else {
          ASSERT_EQ(check_frame(f, wire.front().second), wire.front().first);
          d.release_frame(f);
        }
        wire.pop_front();
      }
      d.flush();
      break;
    }
    case 3:
      while (held.size() > pick(200)) {
        const size_t i = pick(static_cast<uint32_t>(held.size()));
        auto& [f, expected] = held[i];
        ASSERT_EQ(check_frame(f, expected.second), expected.first);
        d.release_frame(f);
        held.erase(held.begin() + static_cast<long>(i));
      }
      d.flush();
      break;
    case 4: {
      net::segment parts[12];
      for (uint32_t n = pick(30); n-- > 0;) {
        const size_t count = 1 + pick(12);
        for (size_t i = 0; i < count; ++i)
          parts[i] = {payload + pick(1000), 1 + pick(1000)};
        if (d.transmit(parts, count, {}, sent_log::record, to_host(sent + 1)).ok())
          sending.push_back(++sent);
      }
      d.flush();
      break;
    }
    default:
      for (uint32_t n = pick(60); n-- > 0 && bus.tx().has_request();) {
        in_device.push_back({bus.tx().take().head, sending.front()});
        sending.pop_front();
      }
      for (uint32_t n = pick(60); n-- > 0 && !in_device.empty();) {
        const size_t i = pick(static_cast<uint32_t>(in_device.size()));
        bus.tx().complete(in_device[i].first, 0);
        in_device.erase(in_device.begin() + static_cast<long>(i));
      }
      d.reclaim_transmitted();
      ASSERT_EQ(log.done.size() + in_device.size() + sending.size(), sent);
    }
    ASSERT_FALSE(d.broken());
    ASSERT_LE(pages.size(), page_limit);
  }
  // Everything returned: the ring is at least as full as at the start, and traffic flows.
  net::received_frame f;
  while (d.receive(f))
    d.release_frame(f);
  for (auto& h : held)
    d.release_frame(h.first);
  d.flush();
  ASSERT_GE(bus.rx().waiting(), first_ring);
  ASSERT_EQ(pages.size(), size_t{bus.rx().waiting()});
  ASSERT_TRUE(deliver(1000, 1));
  ASSERT_TRUE(d.receive(f));
  std::vector<uintptr_t> once = log.done;
  std::sort(once.begin(), once.end());
  EXPECT_EQ(std::adjacent_find(once.begin(), once.end()), once.end());
  EXPECT_GT(received, 500u);
}

INSTANTIATE_TEST_SUITE_P(seeds, virtio_net_random, testing::Range(1u, 13u));

} // namespace
