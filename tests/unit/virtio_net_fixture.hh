// The network driver's surroundings: what it needs of the kernel, counted and limited, a fake
// transport and a fake device. For one test program each: it defines the kernel's functions.
#pragma once

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

// What the driver said it has sent.
struct sent_log {
  std::vector<uintptr_t> done;
  static inline sent_log* current;
  static void record(void* cookie) { current->done.push_back(reinterpret_cast<uintptr_t>(cookie)); }
  sent_log() { current = this; }
};

} // namespace
