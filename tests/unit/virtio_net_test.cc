// sources: drivers/virtio/net.cc drivers/virtio/net_receive.cc drivers/virtio/net_transmit.cc
// sources: drivers/virtio/device.cc drivers/virtio/virtqueue.cc
// The network driver as a whole: a device that misbehaves, and random traffic both ways.
#include "tests/unit/virtio_net_fixture.hh"

namespace {

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
// VIRTIO_F_ACCESS_PLATFORM (6.1): a device that offers it may refuse a driver that does not take
// it.
TEST_F(virtio_net, takes_addresses_of_the_platform) {
  bus.features |= uint64_t{1} << 33;
  start();
  EXPECT_TRUE(bus.accepted & uint64_t{1} << 33);
}

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
