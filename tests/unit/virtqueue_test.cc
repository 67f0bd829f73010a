// sources: drivers/virtio/virtqueue.cc
// The split ring against a fake device: order, wrap-around, event index, indirect tables, and a
// device that lies.
#include "core/log/log.hh"
#include "core/mem/heap.hh"
#include "drivers/virtio/virtqueue.hh"
#include "tests/unit/fake_split_device.hh"
#include <algorithm>
#include <gtest/gtest.h>
#include <map>
#include <memory>
#include <random>

using namespace oblako;
using virtio::completion;
using virtio::virtqueue;

namespace {
size_t live_tables = 0;
bool refuse_memory = false;
} // namespace

namespace oblako::mem {
void* allocate(size_t bytes) {
  if (refuse_memory)
    return nullptr;
  ++live_tables;
  return malloc(bytes);
}
void release(void* memory) {
  live_tables -= memory != nullptr;
  free(memory);
}
} // namespace oblako::mem

void oblako::log::panic(const char* format, ...) {
  fprintf(stderr, "panic: %s\n", format);
  abort();
}

namespace {

// On the host the direct map starts at 0: device addresses are pointers.
void* to_host(uint64_t address) {
  return reinterpret_cast<void*>(address);
}

constexpr uint16_t untouched = 0xeeee;

// A queue in exactly sized, separately allocated blocks, so that ASan sees a step too far.
struct rig {
  explicit rig(uint16_t size, bool event_index = true, bool indirect = true)
      : descriptors(16 * size), available((6 + 2 * size)), used(6 + 8 * size), records(size),
        queue(memory(), size, {event_index, indirect}),
        device(descriptors.data(), available.data(), used.data(), size, to_host) {
    queue.set_doorbell({&bell, 7, false});
  }
  virtio::ring_memory memory() {
    return {reinterpret_cast<virtio::spec::descriptor*>(descriptors.data()),
            reinterpret_cast<virtio::spec::available_ring*>(available.data()),
            reinterpret_cast<virtio::spec::used_ring*>(used.data()), records.data()};
  }
  // One chain of `out` readable and `in` writable buffers of 100 bytes each.
  result<void> add(uintptr_t tag, unsigned out, unsigned in) {
    auto c = TRY(queue.begin(static_cast<uint16_t>(out + in)));
    for (unsigned i = 0; i < out; ++i)
      c.add_readable(device_addr{0x100000 + tag * 4096 + i * 100}, 100);
    for (unsigned i = 0; i < in; ++i)
      c.add_writable(device_addr{0x900000 + tag * 4096 + i * 100}, 100);
    queue.submit(std::move(c), reinterpret_cast<void*>(tag));
    return {};
  }
  // The tag of the next completion, 0 if there is none.
  uintptr_t take(uint32_t* written = nullptr) {
    completion done;
    if (!queue.take_completed(done))
      return 0;
    if (written)
      *written = done.written;
    return reinterpret_cast<uintptr_t>(done.cookie);
  }
  // Whether the doorbell rang since last asked.
  bool rang() {
    const bool r = bell != untouched;
    EXPECT_TRUE(!r || bell == 7);
    bell = untouched;
    return r;
  }

  uint16_t bell = untouched;
  std::vector<char> descriptors, available, used;
  std::vector<virtio::chain_record> records;
  virtqueue queue;
  fake::split_device device;
};

TEST(virtqueue, one_request_there_and_back_in_raw_bytes) {
  rig r(8);
  ASSERT_TRUE(r.add(1, 1, 1).ok());
  // 2.6.5: address, length, flags, next; 2.6.6: flags, index, ring.
  const uint16_t head = fake::read_raw<uint16_t>(r.available.data(), 4);
  const char* d = r.descriptors.data() + 16 * head;
  EXPECT_EQ(fake::read_raw<uint64_t>(d, 0), 0x101000u);
  EXPECT_EQ(fake::read_raw<uint32_t>(d, 8), 100u);
  EXPECT_EQ(fake::read_raw<uint16_t>(d, 12), 1u);
  const uint16_t second = fake::read_raw<uint16_t>(d, 14);
  const char* e = r.descriptors.data() + 16 * second;
  EXPECT_EQ(fake::read_raw<uint64_t>(e, 0), 0x901000u);
  EXPECT_EQ(fake::read_raw<uint16_t>(e, 12), 2u);
  EXPECT_EQ(fake::read_raw<uint16_t>(r.available.data(), 2), 1u);

  EXPECT_EQ(r.take(), 0u);
  auto q = r.device.take();
  ASSERT_EQ(q.pieces.size(), 2u);
  r.device.complete(q.head, 42);
  uint32_t written = 0;
  EXPECT_TRUE(r.queue.has_completed());
  EXPECT_EQ(r.take(&written), 1u);
  EXPECT_EQ(written, 42u);
  EXPECT_EQ(r.take(), 0u);
  EXPECT_EQ(r.queue.free_descriptors(), 8);
  EXPECT_EQ(r.queue.in_flight(), 0);
  EXPECT_FALSE(r.queue.broken());
}

TEST(virtqueue, full_ring_says_again_and_recovers) {
  rig r(4, true, false);
  for (uintptr_t i = 1; i <= 4; ++i)
    ASSERT_TRUE(r.add(i, 1, 0).ok());
  EXPECT_EQ(r.add(5, 1, 0).code(), error::again);
  EXPECT_EQ(r.queue.free_descriptors(), 0);
  r.device.complete(r.device.take().head, 0);
  EXPECT_EQ(r.take(), 1u);
  ASSERT_TRUE(r.add(5, 1, 0).ok());
  EXPECT_EQ(r.add(6, 1, 0).code(), error::again);
  EXPECT_EQ(r.queue.begin(0).code(), error::inval);
  EXPECT_EQ(r.queue.begin(5).code(), error::inval);
}

TEST(virtqueue, chain_longer_than_what_is_free_takes_nothing) {
  rig r(8, true, false);
  ASSERT_TRUE(r.add(1, 6, 0).ok());
  EXPECT_EQ(r.add(2, 3, 0).code(), error::again);
  EXPECT_EQ(r.queue.free_descriptors(), 2);
  ASSERT_TRUE(r.add(2, 2, 0).ok());
}

TEST(virtqueue, a_chain_that_is_dropped_returns_its_descriptors) {
  rig r(8);
  {
    auto c = r.queue.begin(3);
    ASSERT_TRUE(c.ok());
    c->add_readable(device_addr{16}, 1);
    EXPECT_EQ(r.queue.free_descriptors(), 5);
  }
  EXPECT_EQ(r.queue.free_descriptors(), 8);
  {
    auto c = r.queue.begin(6); // indirect
    ASSERT_TRUE(c.ok());
    EXPECT_EQ(r.queue.free_descriptors(), 7);
    auto moved = c.take();
  }
  EXPECT_EQ(r.queue.free_descriptors(), 8);
  EXPECT_EQ(live_tables, 0u);
  EXPECT_FALSE(r.device.has_request());
}

TEST(virtqueue, a_chain_that_ends_early_gives_the_rest_back) {
  rig r(8);
  for (uint16_t reserve : {uint16_t{4}, uint16_t{7}}) {
    auto c = r.queue.begin(reserve);
    ASSERT_TRUE(c.ok());
    c->add_readable(device_addr{16}, 1);
    c->add_writable(device_addr{32}, 2);
    r.queue.submit(c.take(), this);
    auto q = r.device.take();
    EXPECT_EQ(q.pieces.size(), 2u);
    EXPECT_EQ(r.queue.free_descriptors(), reserve == 4 ? 6 : 7);
    r.device.complete(q.head, 2);
    EXPECT_EQ(r.take(), reinterpret_cast<uintptr_t>(this));
    EXPECT_EQ(r.queue.free_descriptors(), 8);
  }
  EXPECT_EQ(live_tables, 0u);
}

TEST(virtqueue, indirect_chain_takes_one_descriptor) {
  rig r(8);
  ASSERT_TRUE(r.add(1, 3, 5).ok());
  EXPECT_EQ(r.queue.free_descriptors(), 7);
  auto q = r.device.take();
  EXPECT_TRUE(q.indirect);
  ASSERT_EQ(q.pieces.size(), 8u);
  EXPECT_EQ(q.readable_bytes(), 300u);
  EXPECT_EQ(q.writable_bytes(), 500u);
  r.device.complete(q.head, 500);
  uint32_t written;
  EXPECT_EQ(r.take(&written), 1u);
  EXPECT_EQ(written, 500u);
  EXPECT_EQ(live_tables, 0u);
}

TEST(virtqueue, without_memory_for_a_table_the_ring_itself_is_used) {
  rig r(8);
  refuse_memory = true;
  auto added = r.add(1, 3, 5);
  refuse_memory = false;
  ASSERT_TRUE(added.ok());
  EXPECT_EQ(r.queue.free_descriptors(), 0);
  auto q = r.device.take();
  EXPECT_FALSE(q.indirect);
  EXPECT_EQ(q.pieces.size(), 8u);
  r.device.complete(q.head, 1);
  EXPECT_EQ(r.take(), 1u);
  EXPECT_EQ(r.queue.free_descriptors(), 8);
}

TEST(virtqueue, out_of_order_completions) {
  rig r(16);
  for (uintptr_t i = 1; i <= 6; ++i)
    ASSERT_TRUE(r.add(i, 1, 1).ok());
  std::vector<fake::request> taken;
  while (r.device.has_request())
    taken.push_back(r.device.take());
  for (int i : {4, 0, 5, 2, 1, 3})
    r.device.complete(taken[static_cast<size_t>(i)].head, static_cast<uint32_t>(i));
  for (uintptr_t expected : {5u, 1u, 6u, 3u, 2u, 4u}) {
    uint32_t written;
    EXPECT_EQ(r.take(&written), expected);
    EXPECT_EQ(written, expected - 1);
  }
  EXPECT_EQ(r.queue.free_descriptors(), 16);
}

// --- notifications

TEST(virtqueue, flags_suppress_notification_without_event_index) {
  rig r(8, false);
  ASSERT_TRUE(r.add(1, 1, 0).ok());
  r.queue.notify();
  EXPECT_TRUE(r.rang());
  r.queue.notify(); // nothing new
  EXPECT_FALSE(r.rang());
  r.device.set_used_flags(1);
  ASSERT_TRUE(r.add(2, 1, 0).ok());
  r.queue.notify();
  EXPECT_FALSE(r.rang());
  r.queue.notify_always();
  EXPECT_TRUE(r.rang());
}

TEST(virtqueue, event_index_notifies_exactly_when_passed) {
  rig r(8);
  r.device.set_avail_event(2); // "tell me when entry 2 is there"
  ASSERT_TRUE(r.add(1, 1, 0).ok());
  r.queue.notify();
  EXPECT_FALSE(r.rang());
  ASSERT_TRUE(r.add(2, 1, 0).ok());
  r.queue.notify();
  EXPECT_FALSE(r.rang());
  ASSERT_TRUE(r.add(3, 1, 0).ok());
  r.queue.notify();
  EXPECT_TRUE(r.rang());
  ASSERT_TRUE(r.add(4, 1, 0).ok());
  r.queue.notify();
  EXPECT_FALSE(r.rang());
  r.device.set_avail_event(5); // inside a batch of three
  for (uintptr_t i = 5; i <= 7; ++i)
    ASSERT_TRUE(r.add(i, 1, 0).ok());
  r.queue.notify();
  EXPECT_TRUE(r.rang());
}

TEST(virtqueue, event_index_across_the_wrap_at_65535) {
  rig r(4);
  uint64_t rings = 0;
  // The device sleeps after every request and so wants to hear of each; 2 x 65,536 of them.
  for (uintptr_t i = 1; i <= 131072; ++i) {
    ASSERT_TRUE(r.add(i, 1, 0).ok());
    r.queue.notify();
    rings += r.rang();
    auto q = r.device.take();
    r.device.want_notification();
    const uint16_t before = r.device.used_index();
    const bool asleep = r.queue.enable_interrupts();
    ASSERT_TRUE(asleep);
    r.device.complete(q.head, 0);
    ASSERT_TRUE(r.device.interrupt_due(before)) << "at " << i;
    ASSERT_EQ(r.take(), i);
  }
  EXPECT_EQ(rings, 131072u);
}

TEST(virtqueue, interrupts_off_means_none_for_a_long_time) {
  rig r(4);
  uint64_t interrupts = 0;
  for (uintptr_t i = 1; i <= 60000; ++i) {
    if (i % 3 == 1)
      r.queue.disable_interrupts();
    ASSERT_TRUE(r.add(i, 1, 0).ok());
    const uint16_t before = r.device.used_index();
    r.device.complete(r.device.take().head, 0);
    interrupts += r.device.interrupt_due(before);
    ASSERT_EQ(r.take(), i);
  }
  EXPECT_EQ(interrupts, 0u);
}

TEST(virtqueue, enable_interrupts_sees_what_came_before) {
  for (bool event_index : {false, true}) {
    rig r(4, event_index);
    r.queue.disable_interrupts();
    EXPECT_EQ(r.device.driver_flags(), event_index ? 0 : 1);
    ASSERT_TRUE(r.add(1, 1, 0).ok());
    r.device.complete(r.device.take().head, 0);
    EXPECT_FALSE(r.queue.enable_interrupts());
    EXPECT_EQ(r.take(), 1u);
    EXPECT_TRUE(r.queue.enable_interrupts());
    EXPECT_EQ(r.device.driver_flags(), 0);
  }
}

TEST(virtqueue, available_to_device_counts_by_the_devices_own_index) {
  rig r(8);
  for (uintptr_t i = 1; i <= 5; ++i)
    ASSERT_TRUE(r.add(i, 0, 1).ok());
  EXPECT_EQ(r.queue.available_to_device(), 5);
  for (int i = 0; i < 3; ++i)
    r.device.complete(r.device.take().head, 0);
  EXPECT_EQ(r.queue.available_to_device(), 2); // none of them taken yet
  EXPECT_EQ(r.queue.in_flight(), 5);
  r.device.set_used_index(1000);
  EXPECT_EQ(r.queue.available_to_device(), 0);
}

// --- a device that lies

void expect_dead(rig& r) {
  EXPECT_TRUE(r.queue.broken());
  EXPECT_EQ(r.take(), 0u);
  EXPECT_EQ(r.add(99, 1, 0).code(), error::io);
  EXPECT_FALSE(r.queue.has_completed());
  EXPECT_TRUE(r.queue.enable_interrupts()); // nothing to wait for, nothing to poll for
  r.queue.notify();
  r.queue.notify_always();
  EXPECT_FALSE(r.rang());
}

TEST(virtqueue, index_that_jumps_breaks_the_queue) {
  for (uint16_t index : {uint16_t{3}, uint16_t{9}, uint16_t{0x8000}, uint16_t{0xffff}}) {
    rig r(8);
    ASSERT_TRUE(r.add(1, 1, 0).ok());
    ASSERT_TRUE(r.add(2, 1, 0).ok());
    r.device.set_used_index(index);
    EXPECT_EQ(r.take(), 0u);
    expect_dead(r);
  }
}

TEST(virtqueue, ids_never_handed_out_break_the_queue) {
  for (uint32_t id : {8u, 0x10000u, 0xffffffffu, 5u}) {
    rig r(8);
    ASSERT_TRUE(r.add(1, 2, 0).ok());
    r.device.complete(id, 0);
    EXPECT_EQ(r.take(), 0u);
    expect_dead(r);
  }
}

TEST(virtqueue, the_middle_of_a_chain_is_not_an_id) {
  rig r(8, true, false);
  ASSERT_TRUE(r.add(1, 3, 0).ok());
  const uint16_t head = r.device.take().head;
  r.device.complete(fake::read_raw<uint16_t>(r.descriptors.data(), 16 * head + 14), 0);
  EXPECT_EQ(r.take(), 0u);
  expect_dead(r);
}

TEST(virtqueue, the_same_id_twice_breaks_the_queue) {
  rig r(8);
  ASSERT_TRUE(r.add(1, 1, 0).ok());
  ASSERT_TRUE(r.add(2, 1, 0).ok());
  const uint16_t head = r.device.take().head;
  r.device.complete(head, 0);
  r.device.complete(head, 0);
  EXPECT_EQ(r.take(), 1u);
  EXPECT_EQ(r.take(), 0u);
  expect_dead(r);
}

TEST(virtqueue, more_bytes_than_the_buffers_hold_break_the_queue) {
  rig r(8);
  ASSERT_TRUE(r.add(1, 1, 2).ok());
  r.device.complete(r.device.take().head, 200);
  uint32_t written;
  EXPECT_EQ(r.take(&written), 1u);
  EXPECT_EQ(written, 200u);
  ASSERT_TRUE(r.add(2, 1, 2).ok());
  r.device.complete(r.device.take().head, 201);
  EXPECT_EQ(r.take(), 0u);
  expect_dead(r);
}

TEST(virtqueue, what_a_device_says_of_a_chain_that_it_only_reads_is_ignored) {
  rig s(8);
  for (uint64_t tag = 1; tag < 20; ++tag) {
    ASSERT_TRUE(s.add(tag, 1, 0).ok());
    s.device.complete(s.device.take().head, tag % 2 ? 0xffffffff : 100); // as Cloud Hypervisor does
    uint32_t written = 7;
    EXPECT_EQ(s.take(&written), tag);
    EXPECT_EQ(written, 0u);
  }
}

TEST(virtqueue, a_device_that_scribbles_over_descriptors_changes_nothing_of_ours) {
  rig r(8, true, false);
  ASSERT_TRUE(r.add(1, 3, 0).ok());
  auto q = r.device.take();
  std::fill(r.descriptors.begin(), r.descriptors.end(), char(0xff));
  r.device.complete(q.head, 0);
  EXPECT_EQ(r.take(), 1u);
  EXPECT_EQ(r.queue.free_descriptors(), 8);
  ASSERT_TRUE(r.add(2, 8, 0).ok());
  EXPECT_EQ(r.device.take().pieces.size(), 8u);
}

TEST(virtqueue, abandoned_chains_come_back_after_a_reset) {
  rig r(8);
  ASSERT_TRUE(r.add(1, 1, 1).ok());
  ASSERT_TRUE(r.add(2, 6, 0).ok());
  r.queue.mark_broken();
  std::vector<uintptr_t> back;
  completion c;
  while (r.queue.take_abandoned(c))
    back.push_back(reinterpret_cast<uintptr_t>(c.cookie));
  std::sort(back.begin(), back.end());
  EXPECT_EQ(back, (std::vector<uintptr_t>{1, 2}));
  EXPECT_EQ(live_tables, 0u);
}

// --- random sequences against a model

struct model_chain {
  uint64_t readable, writable;
  size_t pieces;
};

class random_traffic : public testing::TestWithParam<uint32_t> {};

TEST_P(random_traffic, agrees_with_a_model) {
  std::mt19937 random(GetParam());
  auto pick = [&](uint32_t n) { return static_cast<uint32_t>(random() % n); };
  const auto size = static_cast<uint16_t>(1u << pick(8));
  rig r(size, pick(2), pick(2));
  std::map<uintptr_t, model_chain> with_device; // submitted and not completed
  std::vector<std::pair<fake::request, uintptr_t>> in_device;
  std::vector<std::pair<uintptr_t, uint32_t>> expected; // completed, in order, not yet taken
  std::vector<uintptr_t> submitted;                     // in order, not yet seen by the device
  uintptr_t tag = 0;
  bool device_sleeps = true; // waits for the doorbell
  for (int step = 0; step < 20000; ++step) {
    refuse_memory = pick(10) == 0;
    switch (pick(4)) {
    case 0: { // the driver adds a few, then notifies
      for (uint32_t n = pick(4) + 1; n-- > 0;) {
        const unsigned out = pick(6), in = pick(6);
        if (out + in == 0 || out + in > size)
          continue;
        const uint16_t free_before = r.queue.free_descriptors();
        auto added = r.add(tag + 1, out, in);
        if (!added.ok()) {
          ASSERT_EQ(added.code(), error::again);
          ASSERT_LT(free_before, out + in);
          ASSERT_EQ(r.queue.free_descriptors(), free_before);
          continue;
        }
        ++tag;
        with_device[tag] = {out * 100ull, in * 100ull, out + in};
        submitted.push_back(tag);
      }
      r.queue.notify();
      if (r.rang())
        device_sleeps = false;
      // A wake-up is never lost: with something waiting, the device has been told.
      ASSERT_TRUE(!r.device.has_request() || !device_sleeps);
      break;
    }
    case 1: // the device takes some; having taken all it goes to sleep
      for (uint32_t n = pick(6); n-- > 0 && !device_sleeps;) {
        if (!r.device.has_request()) {
          r.device.want_notification();
          device_sleeps = true;
          break;
        }
        auto q = r.device.take();
        const uintptr_t t = submitted.front();
        submitted.erase(submitted.begin());
        const model_chain& m = with_device.at(t);
        ASSERT_EQ(q.readable_bytes(), m.readable);
        ASSERT_EQ(q.writable_bytes(), m.writable);
        ASSERT_EQ(q.pieces.size(), m.pieces);
        ASSERT_EQ(q.pieces[0].address, (m.readable ? 0x100000 : 0x900000) + t * 4096);
        in_device.push_back({std::move(q), t});
      }
      break;
    case 2: // the device completes some, in any order
      for (uint32_t n = pick(6); n-- > 0 && !in_device.empty();) {
        const size_t i = pick(static_cast<uint32_t>(in_device.size()));
        auto [q, t] = in_device[i];
        in_device.erase(in_device.begin() + static_cast<long>(i));
        const uint32_t length = pick(static_cast<uint32_t>(q.writable_bytes()) + 1);
        r.device.complete(q.head, length);
        expected.push_back({t, length});
      }
      break;
    default: // the driver takes some
      for (uint32_t n = pick(8); n-- > 0;) {
        uint32_t written = 0;
        const uintptr_t t = r.take(&written);
        if (expected.empty()) {
          ASSERT_EQ(t, 0u);
          break;
        }
        ASSERT_EQ(t, expected.front().first);
        ASSERT_EQ(written, expected.front().second);
        expected.erase(expected.begin());
        with_device.erase(t);
      }
      ASSERT_EQ(r.queue.has_completed(), !expected.empty());
      break;
    }
    ASSERT_EQ(r.queue.in_flight(), with_device.size());
    ASSERT_FALSE(r.queue.broken());
  }
  refuse_memory = false;
  completion c;
  while (r.queue.take_completed(c) || r.queue.take_abandoned(c))
    ;
  ASSERT_EQ(r.queue.free_descriptors(), size);
  ASSERT_EQ(live_tables, 0u);
}

INSTANTIATE_TEST_SUITE_P(seeds, random_traffic, testing::Range(1u, 25u));

// The device writes anything anywhere in its ring: no access outside, never more completions than
// chains, and after that either a working or a broken queue.
class random_garbage : public testing::TestWithParam<uint32_t> {};

TEST_P(random_garbage, stays_inside) {
  std::mt19937 random(GetParam());
  auto pick = [&](uint32_t n) { return static_cast<uint32_t>(random() % n); };
  for (int round = 0; round < 300; ++round) {
    const auto size = static_cast<uint16_t>(1u << pick(6));
    rig r(size, pick(2), pick(2));
    size_t outstanding = 0;
    for (int step = 0; step < 60; ++step) {
      const unsigned out = pick(4), in = pick(4);
      if (out + in && out + in <= size && r.add(uintptr_t(step) + 1, out, in).ok())
        ++outstanding;
      if (pick(3) == 0)
        for (uint32_t n = pick(8); n-- > 0;)
          r.used[pick(static_cast<uint32_t>(r.used.size()))] =
              static_cast<char>(pick(4) ? pick(size) : random());
      if (pick(3) == 0)
        fake::write_raw<uint16_t>(r.used.data(), 2, static_cast<uint16_t>(pick(size + 2u)));
      r.queue.notify();
      r.queue.enable_interrupts();
      r.queue.available_to_device();
      while (uintptr_t t = r.take()) {
        ASSERT_LE(t, uintptr_t(step) + 1);
        ASSERT_GT(outstanding, 0u);
        --outstanding;
      }
      ASSERT_EQ(outstanding, r.queue.in_flight());
    }
    completion c;
    while (r.queue.take_abandoned(c))
      --outstanding;
    ASSERT_EQ(outstanding, 0u);
    ASSERT_EQ(r.queue.free_descriptors(), size);
    ASSERT_EQ(live_tables, 0u);
  }
}

INSTANTIATE_TEST_SUITE_P(seeds, random_garbage, testing::Range(100u, 110u));

} // namespace
